// trace_rows FILE: every row of a .moetrace as text, so that a test in another language can read
// it.
//
// First the layers' numbers. A token trace: per token "step rank request position token_id", then
// per layer "|" and the ids; a dash for what the trace does not hold. With gate weights each id is
// followed by "*weight". A counts trace: per histogram "step layer tokens | counts".
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "traces/trace_file.h"

namespace {

void print_tokens(sim::TraceReader& reader) {
  const sim::TraceHeader& header = reader.header();
  sim::TokenChunk chunk;
  while (reader.next(chunk)) {
    for (int row = 0; row < chunk.rows; ++row) {
      const auto i = static_cast<std::size_t>(row);
      const auto show = [&](const auto& column) {
        return column.empty() ? std::string("-") : std::to_string(column[i]);
      };
      std::string line =
          fmt::format("{} {} {} {} {}", show(chunk.step), show(chunk.source_rank),
                      show(chunk.request), show(chunk.position), show(chunk.token_id));
      for (int layer = 0; layer < chunk.layers; ++layer) {
        const sim::ChoiceColumn column = chunk.column(layer);
        line += " |";
        for (int c = 0; c < column.count(row); ++c) {
          const std::size_t at = column.begin(row) + static_cast<std::size_t>(c);
          line += fmt::format(" {}", column.at(at));
          if (header.has_gate_weights) {
            line += fmt::format("*{:.6f}", chunk.gate_weights[chunk.first_choice(layer) + at]);
          }
        }
      }
      std::puts(line.c_str());
    }
  }
}

void print_counts(sim::TraceReader& reader) {
  std::vector<sim::CountRow> rows;
  while (reader.next(rows)) {
    for (const sim::CountRow& row : rows) {
      std::string line = fmt::format("{} {} {} |", row.step, row.layer, row.tokens);
      for (const std::int64_t count : row.counts) line += fmt::format(" {}", count);
      std::puts(line.c_str());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: trace_rows FILE\n", stderr);
    return 1;
  }
  try {
    sim::TraceReader reader(argv[1]);
    std::string numbers;
    for (int layer = 0; layer < reader.header().layers(); ++layer) {
      numbers += fmt::format("{}{}", layer == 0 ? "" : " ", reader.header().layer_number(layer));
    }
    std::puts(numbers.c_str());
    if (reader.header().kind == sim::TraceKind::kTokens) {
      print_tokens(reader);
    } else {
      print_counts(reader);
    }
  } catch (const std::exception& error) {
    std::fputs(error.what(), stderr);
    return 1;
  }
  return 0;
}
