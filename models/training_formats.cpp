#include "models/training_formats.h"

namespace sim {

std::string_view to_text(TrainingPrecision precision) {
  return precision == TrainingPrecision::kFp8 ? "fp8" : "bf16";
}

std::optional<TrainingPrecision> parse_training_precision(std::string_view text) {
  if (text == "bf16") return TrainingPrecision::kBf16;
  if (text == "fp8") return TrainingPrecision::kFp8;
  return std::nullopt;
}

TrainingPrecision usual_training_precision(const MoeModel& model) {
  const bool routed = !routed_blocks(model).empty();
  const GroupFormat& format = routed ? model.formats.experts : model.formats.dense;
  return format.stored.dtype == DType::kFp8 ? TrainingPrecision::kFp8 : TrainingPrecision::kBf16;
}

MoeModel training_model(const MoeModel& model, TrainingPrecision precision) {
  MoeModel trained = model;
  const GroupFormat bf16 = {usual_format(DType::kBf16), DType::kBf16};
  const GroupFormat matrices = precision == TrainingPrecision::kFp8
                                   ? GroupFormat{usual_format(DType::kFp8), DType::kFp8}
                                   : bf16;
  ModelFormats& formats = trained.formats;
  formats.attention = formats.dense = formats.experts = formats.shared = matrices;
  formats.router = formats.embeddings = bf16;
  formats.activations = formats.kv_cache = DType::kBf16;
  return trained;
}

}  // namespace sim
