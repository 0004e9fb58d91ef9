#include "sim/app/scenario_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/input/suggestion.h"

namespace sim {
namespace {

constexpr std::array kChosen = {KernelFamily::kExpertFfn,        KernelFamily::kGemm,
                                KernelFamily::kAttentionPrefill, KernelFamily::kAttentionDecode,
                                KernelFamily::kMlaPrefill,       KernelFamily::kMlaDecode,
                                KernelFamily::kStreaming};

// What the model's kernels of a family store and multiply.
std::vector<KernelFormat> formats_of(const MoeModel& model, KernelFamily family) {
  const ModelFormats& formats = model.formats;
  const auto of = [](const GroupFormat& group) {
    return KernelFormat{group.stored.dtype, group.multiplied, false};
  };
  switch (family) {
    case KernelFamily::kExpertFfn:
      return {of(formats.experts)};
    case KernelFamily::kGemm:
      return {of(formats.attention), of(formats.dense), of(formats.router), of(formats.shared),
              of(formats.embeddings)};
    default:
      return {{formats.kv_cache, formats.activations, false}};
  }
}

bool answers(const KernelConstants& entry, KernelFamily family, const Device& device,
             const MoeModel& model) {
  if (entry.family != family) return false;
  if (family == KernelFamily::kStreaming) return true;
  const std::vector<KernelFormat> formats = formats_of(model, family);
  return std::any_of(formats.begin(), formats.end(), [&](const KernelFormat& format) {
    return entry.format.stored == format.stored && multiplied_on(device, entry.format.multiplied) ==
                                                       multiplied_on(device, format.multiplied);
  });
}

void check_source(YamlMap& map, KernelFamily family, const std::string& source,
                  const MoeModel& model, const std::map<std::string, Device>& devices) {
  std::vector<std::string> there;
  for (const auto& [name, device] : devices) {
    for (const KernelConstants& entry : device.kernels) {
      if (!answers(entry, family, device, model)) continue;
      if (entry.called(source)) return;
      if (std::find(there.begin(), there.end(), entry.source) == there.end()) {
        there.push_back(entry.source);
      }
    }
  }
  const KernelFormat format = formats_of(model, family).front();
  const std::string of = family == KernelFamily::kStreaming
                             ? std::string(to_text(family))
                             : fmt::format("{} in {}", to_text(family), to_text(format));
  map.mistake(to_text(family),
              fmt::format("no device of the cluster has the source '{}' of {}", source, of),
              there.empty() ? "it has none: the roofline prices it" : suggest(source, there));
}

}  // namespace

KernelChoice read_kernel_choice(YamlMap& root, const MoeModel* model,
                                const std::map<std::string, Device>& devices, Mistakes& mistakes) {
  static const std::vector<std::string> kUses = {"calibrated", "roofline"};
  KernelChoice choice;
  YamlMap map(root.child("kernels"), "kernels", mistakes);
  choice.calibrated = map.choice_or("use", kUses.front(), kUses) == kUses.front();
  for (const KernelFamily family : kChosen) {
    const std::string source = map.text_or(to_text(family), "");
    if (source.empty()) continue;
    choice.sources[family] = source;
    if (model != nullptr) check_source(map, family, source, *model, devices);
  }
  map.finish();
  return choice;
}

}  // namespace sim
