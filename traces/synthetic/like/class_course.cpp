// The order in which token classes come: fit and draw.
#include <algorithm>
#include <cmath>
#include <map>

#include "traces/synthetic/like/classes.h"

namespace sim {
namespace {

constexpr int kRounds = 25;
constexpr int kScalingRounds = 40;
constexpr double kFollowPrior = 1;
constexpr double kLeastShare = 1e-6;
// (assumed: fewer sequences than this cannot show how requests begin) Sequences.
constexpr double kStartPrior = 4;
constexpr double kLeastStart = 0.02;  // no class is ruled out by its place
constexpr std::size_t kBacks = kBackTokens.size();

double stay(std::size_t back) { return 1 - 1 / kBackTokens[back]; }  // chance to look further back

}  // namespace

std::size_t ClassCourse::parameters() const {
  std::size_t sum = kSources - 1 + popularity.size();
  for (const auto& row : next) sum += row.size();
  for (const auto& place : starts)
    sum += static_cast<std::size_t>(
        std::count_if(place.begin(), place.end(), [](double f) { return f > kLeastStart; }));
  return sum;
}

std::vector<double> chain_of(const ClassCourse& course, const ClassTopic& topic) {
  const std::size_t n = topic.size();
  std::vector<std::size_t> place(course.next.size(), n);
  for (std::size_t i = 0; i < n; ++i) place[topic[i].first] = i;
  std::vector<double> chain(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    double* row = chain.data() + i * n;
    // As if the class had been followed once more by what is popular: no way is closed for good.
    for (std::size_t j = 0; j < n; ++j)
      row[j] = kFollowPrior * std::max(course.popularity[topic[j].first], kLeastShare);
    for (const auto& [to, count] : course.next[topic[i].first])
      if (place[to] < n) row[place[to]] += count;
  }
  std::vector<double> to(n, 1);
  std::vector<double> from(n);
  for (int round = 0; round < kScalingRounds; ++round) {
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += chain[i * n + j] * to[j];
      from[i] = topic[i].second / sum;
    }
    std::vector<double> sums(n, 0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) sums[j] += chain[i * n + j] * from[i];
    for (std::size_t j = 0; j < n; ++j) to[j] = topic[j].second / sums[j];
  }
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) sum += chain[i * n + j] *= to[j];
    for (std::size_t j = 0; j < n; ++j) chain[i * n + j] /= sum;
  }
  return chain;
}

ClassCourse fit_course(const TokenSequences& trace,
                       const std::vector<std::uint16_t>& class_of_token, std::size_t classes,
                       const std::vector<ClassTopic>& topics) {
  ClassCourse course;
  course.popularity.assign(classes, 0);
  std::vector<std::map<std::uint16_t, std::uint32_t>> followed(classes);
  for (const TokenSequence& sequence : trace.sequences) {
    for (std::size_t t = 0; t < static_cast<std::size_t>(sequence.tokens); ++t) {
      const std::uint16_t c = class_of_token[sequence.first_token + t];
      course.popularity[c] += 1 / static_cast<double>(trace.tokens());
      if (t > 0) ++followed[class_of_token[sequence.first_token + t - 1]][c];
    }
  }
  for (const auto& row : followed) course.next.emplace_back(row.begin(), row.end());

  if (!trace.header.has_steps) {
    for (std::size_t t = 0; t < kStartTokens; ++t) {
      std::vector<double> factor(classes, 0);
      double seen = 0;
      for (const TokenSequence& sequence : trace.sequences) {
        if (static_cast<std::size_t>(sequence.tokens) <= t) continue;
        factor[class_of_token[sequence.first_token + t]] += 1;
        seen += 1;
      }
      for (std::size_t c = 0; c < classes; ++c) {
        // Few requests reach a place: as if kStartPrior more had been like the whole trace.
        const double popular = std::max(course.popularity[c], kLeastShare);
        factor[c] = std::max((factor[c] + kStartPrior * popular) / ((seen + kStartPrior) * popular),
                             kLeastStart);
      }
      course.starts.push_back(std::move(factor));
    }
  }

  // What each source says of each token's class, once; then the weights.
  std::vector<std::array<float, kSources>> chances;
  chances.reserve(trace.tokens());
  std::vector<std::size_t> place(classes);
  for (std::size_t i = 0; i < trace.sequences.size(); ++i) {
    const TokenSequence& sequence = trace.sequences[i];
    const ClassTopic& topic = topics[i];
    const std::size_t n = topic.size();
    for (std::size_t c = 0; c < n; ++c) place[topic[c].first] = c;
    const std::vector<double> chain = chain_of(course, topic);
    std::array<std::vector<double>, kBacks> recent;
    for (std::vector<double>& of : recent) of.assign(n, 0);
    std::array<double, kBacks> beyond;  // chance to look beyond the start
    beyond.fill(1);
    std::size_t before = n;
    for (std::size_t t = 0; t < static_cast<std::size_t>(sequence.tokens); ++t) {
      const std::size_t c = place[class_of_token[sequence.first_token + t]];
      const double own = topic[c].second;
      std::array<float, kSources> of_token{};
      of_token[kOwn] = static_cast<float>(own);
      of_token[kNext] = static_cast<float>(before == n ? own : chain[before * n + c]);
      for (std::size_t b = 0; b < kBacks; ++b) {
        of_token[kBack1 + b] = static_cast<float>(recent[b][c] + beyond[b] * own);
        for (double& value : recent[b]) value *= stay(b);
        recent[b][c] += 1 - stay(b);
        beyond[b] *= stay(b);
      }
      chances.push_back(of_token);
      before = c;
    }
  }
  course.weight.fill(1.0 / kSources);
  for (int round = 0; round < kRounds; ++round) {
    std::array<double, kSources> taken{};
    for (const std::array<float, kSources>& of_token : chances) {
      double sum = 0;
      for (std::size_t s = 0; s < kSources; ++s)
        sum += course.weight[s] * static_cast<double>(of_token[s]);
      for (std::size_t s = 0; s < kSources; ++s)
        taken[s] += course.weight[s] * static_cast<double>(of_token[s]) / std::max(sum, 1e-30);
    }
    for (std::size_t s = 0; s < kSources; ++s)
      course.weight[s] = taken[s] / static_cast<double>(chances.size());
  }
  return course;
}

CourseDraw::CourseDraw(const ClassCourse& course) : course_(course), source_(course.weight) {}

void CourseDraw::start_sequence(const ClassTopic& topic) {
  past_.clear();
  if (topic == topic_) return;
  topic_ = topic;
  own_.clear();
  double sum = 0;
  for (const auto& [c, share] : topic) own_.push_back(sum += share);
  chain_ = chain_of(course_, topic);
  const std::size_t n = topic.size();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 1; j < n; ++j) chain_[i * n + j] += chain_[i * n + j - 1];
}

std::size_t CourseDraw::draw_row(const double* cumulative, RandomStream& random) {
  if (past_.size() < course_.starts.size()) {
    const std::vector<double>& factor = course_.starts[past_.size()];
    row_.clear();
    double sum = 0;
    for (std::size_t i = 0; i < topic_.size(); ++i) {
      const double chance = cumulative[i] - (i == 0 ? 0 : cumulative[i - 1]);
      row_.push_back(sum += chance * factor[topic_[i].first]);
    }
    cumulative = row_.data();
  }
  const double* end = cumulative + topic_.size();
  const double* at = std::upper_bound(cumulative, end, random.uniform() * end[-1]);
  return static_cast<std::size_t>(std::min(at, end - 1) - cumulative);
}

std::uint16_t CourseDraw::draw(RandomStream& random) {
  const std::size_t source = source_.draw(random);
  const std::size_t n = past_.size();
  std::size_t back = 0;  // 0: none
  if (source >= kBack1) {
    back = 1;
    const double further = stay(source - kBack1);
    if (further > 0)
      back += static_cast<std::size_t>(
          std::min(1e9, std::floor(std::log1p(-random.uniform()) / std::log(further))));
  }
  std::size_t drawn = 0;
  if (back > 0 && back <= n) {
    drawn = past_[n - back];
  } else if (source == kNext && n > 0) {
    drawn = draw_row(chain_.data() + past_.back() * topic_.size(), random);
  } else {
    drawn = draw_row(own_.data(), random);
  }
  past_.push_back(static_cast<std::uint32_t>(drawn));
  return topic_[drawn].first;
}

}  // namespace sim
