// Routing that behaves like a recorded trace: a law with few parameters, fitted to the trace.
//
// Every token has a class, drawn from what its sequence, its tag and its part of the run make
// likely (classes.h). A token's k experts in a layer are drawn one after another, each in
// proportion to
//
//   weight(e) = rate(class, e)                                    the class's popularity
//             * ( 1 + keep[0] if the token before chose e           memory
//                   + keep[1] count(e) / ((n + 16) share(e)) )      of the sequence, n tokens so
//                   far
//             * exp( bias(e) )                                    the layer's exact popularity
//             * product over b in its choices of the layer before of exp( across(b, e) )
//             * product over c drawn before e in this layer of exp( together(c, e) )
//
// among the experts not drawn yet. The class ties all layers of a token, and tokens of a request,
// of a tag, of a time, to one another; the two tables add what consecutive layers and the choices
// inside a token share beyond their class. A log-linear law fitted by maximum likelihood has the
// pair counts of the data as its expectation (the exponential family's moment property). Rates are
// -ln(1 - share of tokens), the arrival rates of a race that has the shares as its chances.
//
// Memory lies in the classes first. Experts' own memory (`keep`) is not fitted by likelihood: one
// step ahead it looks strong, and drawn freely it feeds on itself until requests freeze on a few
// experts. It is set so that freely drawn tokens agree with their past as much as the trace's do.
// Choices of a token are a set: their order is not modelled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "traces/synthetic/like/classes.h"
#include "traces/synthetic/like/sequences.h"

namespace sim {

// (assumed: a short past says little) Tokens of prior weight in the count of a sequence.
inline constexpr double kUrnTokens = 16;

// A matrix of log weights, of low rank where the data cannot carry a full one:
// at(r, c) = sum over i of left[r][i] right[c][i], or left[r][c] when it is full.
struct PairTable {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t rank = 0;  // 0: all zero
  bool full = false;     // then rank == columns and `right` is empty
  std::vector<float> left;
  std::vector<float> right;

  std::vector<float> expanded() const;  // [rows][columns]
  std::size_t parameters() const { return left.size() + right.size(); }
  bool operator==(const PairTable&) const = default;
};

struct LikeLayer {
  std::vector<float> bias;  // per expert
  std::array<float, 2> keep{};
  PairTable across;    // layer before x this layer; no rows in the first layer
  PairTable together;  // this layer x this layer
  bool operator==(const LikeLayer&) const = default;
};

// Shares of tokens that choose an expert: whole(e) * part(e) * tag(e), both factors around 1.
struct LikePopularity {
  std::vector<double> whole;               // experts of all layers, layer after layer
  std::vector<std::vector<double>> parts;  // of the run, in order of time; at least one
  std::vector<std::vector<double>> tags;   // an empty one: the tag is too rare for its own
};

struct LikeModel {
  TraceHeader header;  // of the trace it was fitted to
  std::vector<std::string> tags;
  std::vector<TokenSequence> layout;  // which sequences the trace had: a workload, not routing
  LikePopularity popularity;          // of experts: what is steered to
  ClassCourse course;
  std::vector<ClassTopic> topics;  // of each sequence of the layout
  std::size_t classes = 1;
  std::vector<float> class_rates;  // [class][expert of any layer]
  std::vector<LikeLayer> layers;

  // What the fit says of itself.
  std::int64_t fitted_choices = 0;
  double log_likelihood = 0;             // nat per choice, of the last pass over the data
  double popularity_log_likelihood = 0;  // the same with popularity alone
  // Numbers that were fitted to choices (the layout is not).
  std::size_t parameters() const;
};

struct LikeOptions {
  // As many classes, and tables of such a rank, as leave this many choices per number of each.
  // (assumed: 20 counts tell a share within about 22 %; a product of two numbers asks for more)
  double choices_per_class_share = 20;
  double choices_per_table_entry = 30;
  int passes = 10;  // over the data
  std::uint64_t seed = 1;
};

// Throws Error when the trace is too small to say anything: fewer than 20 choices per expert of a
// layer on average, or fewer than four sequences.
LikeModel fit_like(const TokenSequences& trace, const LikeOptions& options);

}  // namespace sim
