// What `simulate collective` cannot run: one message per mistake, all of them at once, exit 1.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

class BadCollective : public Refusal {
 protected:
  std::string refused_words(const std::string& words) const {
    std::vector<std::string> arguments = {"collective", "--cluster"};
    std::string word;
    for (const char c : words + " ") {
      if (c != ' ') {
        word += c;
      } else if (!word.empty()) {
        arguments.push_back(word);
        word.clear();
      }
    }
    return refused(arguments);
  }
  std::string bytes(const std::string& more) const {
    return refused_words("hgx-h100 --op all-to-all --algorithm nccl " + more);
  }
  std::string tokens(const std::string& more) const {
    return refused_words("hgx-h100 --nodes 2 --op dispatch --hidden 7168 " + more);
  }
};

TEST_F(BadCollective, Names) {
  EXPECT_EQ(refused_words("hgx-h10 --op all-to-all --algorithm nccl --bytes 8"),
            "no cluster is called 'hgx-h10'; did you mean 'hgx-h100'?\n");
  EXPECT_EQ(refused_words("hgx-h100 --op all-to-al --algorithm nccl --bytes 8"),
            "--op: there is no operation 'all-to-al'; did you mean 'all-to-all'?\n");
  EXPECT_EQ(refused_words("hgx-h100 --op dispatch --algorithm deepep-norma --tokens 1 --hidden 8 "
                          "--topk 1 --experts 8"),
            "--algorithm: 'deepep-norma' is no algorithm of dispatch; did you mean "
            "'deepep-normal'?\n");
  EXPECT_EQ(refused_words("hgx-h100 --op dispatch"),
            "simulate collective: --algorithm is required; `simulate collective --help` shows what "
            "it takes\n");
  EXPECT_EQ(bytes("--bytes 8 --dtype int4"),
            "--dtype: 'int4' does not travel; possible: bf16, fp16, fp8, nvfp4, fp32\n");
}

TEST_F(BadCollective, BytesAndTokens) {
  EXPECT_EQ(bytes(""), "--bytes: missing; give sizes, like --bytes 8M or --bytes 8:128M:2\n");
  EXPECT_EQ(bytes("--bytes 8 --tokens 8 --topk 2"),
            "--tokens: all-to-all moves bytes; give --bytes, or --op dispatch or combine\n"
            "--topk: goes with --tokens only\n");
  EXPECT_EQ(tokens("--algorithm nccl --bytes 8 --tokens 8"),
            "--bytes: dispatch moves tokens; give --tokens, --hidden, --topk and --experts\n"
            "--topk: missing; like --topk 8\n"
            "--experts: missing; like --experts 256\n");
  EXPECT_EQ(tokens("--algorithm nccl --topk 8 --experts 256"),
            "--tokens: missing; tokens of a rank, like --tokens 128\n");
}

TEST_F(BadCollective, Sizes) {
  const std::string like = "; write it like 4096, 8M, '16 MB' or 8:128M:2\n";
  EXPECT_EQ(bytes("--bytes 0"), "--bytes: '0': at least 1\n");
  EXPECT_EQ(bytes("--bytes 2e15"), "--bytes: '2e15': at most 1125899906842624 bytes\n");
  EXPECT_EQ(bytes("--bytes 9e99G"), "--bytes: '9e99G' is not a size" + like);
  EXPECT_EQ(bytes("--bytes 8,,9"), "--bytes: '' is not a size" + like);
  EXPECT_EQ(bytes("--bytes 8X"), "--bytes: '8X' is not a size" + like);
  EXPECT_EQ(bytes("--bytes 8:9"),
            "--bytes: '8:9' is not a range; write begin:end:factor, like "
            "8:128M:2\n");
  EXPECT_EQ(bytes("--bytes 8:1G:1"),
            "--bytes: '1' is not a factor above 1; write "
            "begin:end:factor, like 8:128M:2\n");
  EXPECT_EQ(bytes("--bytes 2K:1K:2"), "--bytes: the range 2K:1K is empty\n");
  EXPECT_EQ(bytes("--bytes 1:1e12:1.0001"), "--bytes: more than 10000 sizes\n");
  EXPECT_EQ(tokens("--algorithm nccl --topk 8 --experts 256 --tokens 1.5"),
            "--tokens: '1.5' is not a count of tokens; write it like 128 or 1:4096:2\n");
  EXPECT_EQ(tokens("--algorithm nccl --topk 8 --experts 256 --tokens 1e9"),
            "--tokens: '1e9': at most 16777216 tokens\n");
}

TEST_F(BadCollective, Ranks) {
  EXPECT_EQ(bytes("--bytes 8 --nodes 0 --ranks 0"),
            "--nodes: 0 is not between 1 and 16384\n--ranks: 0 is not between 1 and 16384\n");
  EXPECT_EQ(bytes("--bytes 8 --ranks 1"), "--ranks: a collective has at least 2 ranks\n");
  EXPECT_EQ(bytes("--bytes 8 --nodes 2 --ranks 17"),
            "--ranks: 17 ranks: 2 nodes of 'hgx-h100' have 16 GPUs\n");
  EXPECT_EQ(bytes("--bytes 8 --nodes 2 --ranks 15"),
            "--ranks: 15 ranks do not divide over 2 nodes of 'hgx-h100'; the same number runs on "
            "each node: a multiple of 2\n");
  EXPECT_EQ(bytes("--bytes 8 --nodes 2 --set nodes=1"),
            "--set nodes: the cluster is as large as what takes part; use --nodes\n");
  EXPECT_EQ(bytes("--bytes 8 --nodes 300"),
            "--algorithm: 2400 ranks that all send to each other are 5760000 transfers; at most "
            "4194304 fit in memory; dispatch and combine can run with --fidelity ports\n");
}

TEST_F(BadCollective, SwitchesThatAreNotKnownToSum) {
  EXPECT_EQ(refused_words("hgx-a100 --op all-reduce --algorithm nccl-nvls --bytes 8"),
            "--algorithm: 'hgx-a100' has no constants of all-reduce in the switch (nccl-nvls), so "
            "its switches are not known to do that; take nccl-ring\n");
}

TEST_F(BadCollective, Fidelity) {
  EXPECT_EQ(bytes("--bytes 8 --fidelity port"),
            "--fidelity: there is no fidelity 'port'; did you mean 'ports'?\n");
  EXPECT_EQ(bytes("--bytes 8 --fidelity ports"),
            "--fidelity: 'ports' is for dispatch and combine\n");
  EXPECT_EQ(tokens("--algorithm 2dh --tokens 8 --topk 8 --experts 16 --fidelity ports"),
            "--algorithm: '2dh' is not defined at the fidelity 'ports'; it is for nccl, "
            "deepep-low-latency, deepep-normal, nvlink-one-sided\n");
}

TEST_F(BadCollective, OptionsThatTheAlgorithmDoesNotHave) {
  EXPECT_EQ(bytes("--bytes 8 --tp 4"), "--tp: 'nccl' does not look at tensor-parallel groups\n");
  EXPECT_EQ(refused_words("hgx-h100 --op all-to-all --algorithm hierarchical-tp --bytes 8 --tp 3"),
            "--tp: groups of 3 do not divide the 8 ranks of a node\n");
  EXPECT_EQ(bytes("--bytes 8 --library mpi"),
            "--library: 'hgx-h100' has no constants of 'nccl' by 'mpi'; they name no library\n");
}

TEST_F(BadCollective, TooManyRanks) {
  EXPECT_EQ(refused_words("hgx-h100 --nodes 513 --op all-reduce --algorithm nccl-ring --bytes 8"),
            "--ranks: 4104 ranks: at most 4096 take part in all-reduce\n");
}

TEST_F(BadCollective, Tokens) {
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 9 --experts 8"),
            "--topk: a token cannot go to 9 of 8 experts\n");
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 8 --experts 70000"),
            "--experts: 70000 is not between 1 and 65536\n");
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 8 --experts 256 --sms 20"),
            "--sms: 'nccl' holds no SMs; its time does not depend on them\n");
  EXPECT_EQ(tokens("--algorithm deepep-normal --tokens 8 --topk 8 --experts 256 --sms 133"),
            "--sms: 'deepep-normal' would hold 133 of the 132 SMs of h100-sxm\n");
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 8 --experts 255 --group-limit 1"),
            "--group-limit: 2 groups, one per node, do not divide 255 experts; --groups says how "
            "many there are\n");
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 8 --experts 16 --groups 4 --group-limit 1"),
            "--group-limit: 1 of 4 groups hold 4 experts, top-8 needs more\n");
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 8 --experts 16 --groups 4"),
            "--groups: no effect without --group-limit; --group-limit says how many of them a "
            "token may use\n");
  EXPECT_EQ(tokens("--algorithm nccl --tokens 8 --topk 8 --experts 16 --zipf 21"),
            "--zipf: 21 is not between 0 and 20\n");
}

}  // namespace
}  // namespace sim::testing
