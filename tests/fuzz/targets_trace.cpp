// The reader of .moetrace files, once on the bytes of a file and once behind its checksums; every
// importer.
#include <zlib.h>

#include "sim/core/error.h"
#include "tests/fuzz/targets.h"
#include "traces/capture/moe_capture.h"
#include "traces/import/import.h"
#include "traces/statistics.h"
#include "traces/trace_file.h"
#include "traces/trace_frame.h"
#include "traces/trace_messages.h"

namespace sim::fuzz {
namespace {

// Whole: header, index, every chunk.
void read_whole(const std::string& path) {
  TraceReader reader(path);
  if (reader.header().kind == TraceKind::kTokens) {
    TokenChunk chunk;
    while (reader.next(chunk)) {
      for (int layer = 0; layer < chunk.layers; ++layer) {
        const ChoiceColumn column = chunk.column(layer);
        std::size_t choices = 0;
        for (int row = 0; row < chunk.rows; ++row) {
          for (int c = 0; c < column.count(row); ++c) {
            SIM_CHECK(column.at(column.begin(row) + static_cast<std::size_t>(c)) <
                          reader.header().experts[static_cast<std::size_t>(layer)],
                      "a chunk that was read holds only experts that exist");
          }
          choices += static_cast<std::size_t>(column.count(row));
        }
        SIM_CHECK(choices == chunk.choices_of(layer), "rows of a layer are its choices");
      }
    }
  } else {
    std::vector<CountRow> rows;
    while (reader.next(rows)) {
    }
  }
}

void trace(std::string_view bytes) { read_whole(scratch_file("fuzz.moetrace", bytes)); }

// Takes bytes from the front of an input.
class Bytes {
 public:
  explicit Bytes(std::string_view left) : left_(left) {}
  bool empty() const { return left_.empty(); }
  std::string take(std::size_t most) {
    const std::string part(left_.substr(0, most));
    left_.remove_prefix(part.size());
    return part;
  }
  // 16 bits, low byte first; what is missing is 0.
  std::size_t number() {
    std::size_t value = 0;
    const std::string two = take(2);
    for (std::size_t i = 0; i < two.size(); ++i) {
      value |= std::size_t{static_cast<unsigned char>(two[i])} << (8 * i);
    }
    return value;
  }

 private:
  std::string_view left_;
};

// The messages of a file without compression and checksums, so that a mutation gets past them:
//   flags, rows of the chunks (16 bits each), then messages: length (16 bits), bytes
// The first message is the header. The last is the index, unless bit 0 of the flags asks for one
// that fits.
void trace_messages(std::string_view input) {
  Bytes bytes(input);
  const bool own_index = (bytes.number() & 1U) != 0;
  const std::size_t rows = bytes.number();
  std::vector<std::string> messages;
  while (!bytes.empty()) messages.push_back(bytes.take(bytes.number()));
  if (messages.empty()) return;
  std::string file(kTraceMagic);
  put_u32(file, kTraceVersion);
  file += make_frame(kHeaderFrame, messages[0], 1);
  TraceIndex index;
  index.tags = {"code", "chat"};
  const std::size_t chunks = messages.size() - (own_index || messages.size() == 1 ? 0 : 1);
  for (std::size_t m = 1; m < chunks; ++m) {
    index.chunks.push_back({file.size(), index.rows, static_cast<int>(rows), 0, 0});
    index.rows += static_cast<std::int64_t>(rows);
    file += make_frame(kChunkFrame, messages[m], 1);
  }
  const std::uint64_t footer = file.size();
  file += make_frame(kFooterFrame, own_index ? encode_footer(index) : messages.back(), 1);
  put_u64(file, footer);
  file += kTrailerMagic;
  read_whole(scratch_file("messages.moetrace", file));
}

// What an importer accepts, it writes as a trace that can be read, and whose statistics are there.
void import(std::string_view bytes, const std::string& format, bool counts = false) {
  const std::string out = scratch_path("out.moetrace");
  ImportOptions options;
  options.format = format;
  options.counts = counts;
  options.experts = 8;
  options.top_k = 2;
  scratch_file("requests.csv",
               "request,dataset,category\n0,a,b\n");  // beside a fingerprinting file
  import_trace(scratch_file("input", bytes), out, options);
  try {
    read_whole(out);
  } catch (const Error& error) {
    throw InternalError(std::string("an imported trace cannot be read: ") + error.what());
  }
}

// The frames of a capture log with right markers and checksums: kind, length (16 bits each), bytes.
void capture_frames(std::string_view input) {
  Bytes bytes(input);
  std::string log(MOE_CAPTURE_MAGIC);
  put_u32(log, MOE_CAPTURE_LOG_VERSION);
  while (!bytes.empty()) {
    std::string summed;  // kind, length, payload
    put_u32(summed, static_cast<std::uint32_t>(bytes.number()));
    const std::string payload = bytes.take(bytes.number());
    put_u32(summed, static_cast<std::uint32_t>(payload.size()));
    put_u32(log, MOE_CAPTURE_FRAME_MARKER);
    log += summed;
    summed += payload;
    put_u32(log, static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(summed.data()),
                                                  static_cast<uInt>(summed.size()))));
    log += payload;
  }
  import(log, "capture-log");
}

}  // namespace

std::vector<Target> trace_targets() {
  std::vector<Target> list{{"trace", trace}, {"trace-messages", trace_messages}};
  for (const ImportFormat& format : import_formats()) {
    const std::string name(format.name);
    list.push_back({"import-" + name, [name](std::string_view bytes) { import(bytes, name); }});
  }
  list.push_back({"capture-frames", capture_frames});
  list.push_back({"import-to-counts", [](std::string_view bytes) { import(bytes, "", true); }});
  list.push_back({"import-unnamed", [](std::string_view bytes) { import(bytes, ""); }});
  return list;
}

}  // namespace sim::fuzz
