// Token classes: tokens that choose alike in all layers, and the order in which classes come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/core/random.h"
#include "traces/synthetic/like/sequences.h"

namespace sim {

// The class of every token, by hard expectation-maximisation: a class is a share per expert of
// every layer, a token belongs to the class under which its choices are likeliest (choices and
// layers taken as independent). Empty classes are dropped. O(rounds * choices * classes).
std::vector<std::uint16_t> find_classes(const TokenSequences& trace, std::size_t classes,
                                        std::uint64_t seed);

// Shares of a class's tokens that choose each expert, [class][expert of any layer], drawn towards
// the shares of all tokens as if the class had `prior` tokens more of those.
std::vector<double> class_shares(const TokenSequences& trace,
                                 const std::vector<std::uint16_t>& class_of_token,
                                 std::size_t classes, double prior);

// The class shares of one sequence, by class; sum 1.
using ClassTopic = std::vector<std::pair<std::uint16_t, double>>;

// How the class of a token follows from those before it in its sequence. A sequence has its topic,
// the shares that classes have in it. For each token one of these sources is drawn, then the class
// from it; a look back beyond the start of the sequence becomes kOwn.
//   kOwn      the topic
//   kNext     what follows the previous token's class: the Markov chain that is closest to the
//             whole trace's (least relative entropy) among those whose stationary law is the topic
//   kBack...  the class of an earlier token of the sequence, so far back that the distance is
//             geometric with a mean of 1, 4, 16, 64 tokens
// Each source keeps the topic, so sequences stay what they are however strong the memory. Requests
// begin alike (a prompt's or an answer's format): among the first kStartTokens tokens the chances
// of kNext and kOwn are multiplied by what the place makes of each class's popularity.
inline constexpr std::size_t kStartTokens = 32;
inline constexpr std::size_t kOwn = 0, kNext = 1, kBack1 = 2, kSources = 6;
// (assumed: powers of 4 span a request's length; the fit weighs them)
inline constexpr std::array<double, 4> kBackTokens = {1, 4, 16, 64};

struct ClassCourse {
  std::array<double, kSources> weight{};  // sum 1
  std::vector<double> popularity;         // of the classes, in the whole trace
  // next[c]: (class, count) of what followed class c, by class.
  std::vector<std::vector<std::pair<std::uint16_t, std::uint32_t>>> next;
  // starts[t][c]: share of class c among the t-th tokens of sequences over its popularity; empty
  // for sequences that are no requests.
  std::vector<std::vector<double>> starts;
  std::size_t parameters() const;
};

// The chain of kNext for a topic: row i over the topic's classes in their order, given the i-th of
// them. Both margins are met by iterative scaling (Sinkhorn and Knopp 1967).
std::vector<double> chain_of(const ClassCourse& course, const ClassTopic& topic);

// Expectation-maximisation over the weights of the sources. topics[i]: of sequence i.
ClassCourse fit_course(const TokenSequences& trace,
                       const std::vector<std::uint16_t>& class_of_token, std::size_t classes,
                       const std::vector<ClassTopic>& topics);

// Draws the classes of one sequence after another.
class CourseDraw {
 public:
  explicit CourseDraw(const ClassCourse& course);
  void start_sequence(const ClassTopic& topic);
  std::uint16_t draw(RandomStream& random);

 private:
  std::size_t draw_row(const double* cumulative, RandomStream& random);
  const ClassCourse& course_;
  AliasTable source_;
  ClassTopic topic_;
  std::vector<double> own_;          // cumulative
  std::vector<double> chain_;        // rows cumulative
  std::vector<double> row_;          // scratch
  std::vector<std::uint32_t> past_;  // places in the topic
};

}  // namespace sim
