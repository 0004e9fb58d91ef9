// simulate flows, as a user runs it: hand-computed times, both forms, and what it refuses.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

class Flows : public Refusal {
 protected:
  // Host 0 to 1 and 2 over link 0 (10 B/s); 1 over link 1 too (2 B/s); 0.5 s of latency to host 2.
  static std::string scenario(const std::string& flows) {
    return "flowscenario 1\n# three hosts\nhosts 3\nlinks 3\nlink 0 10 0\nlink 1 2 0\nlink 2 1e9 "
           "0.5\nroutes 2\nroute 0 1 2 0 1\nroute 0 2 2 0 2\n" +
           flows;
  }
  static constexpr const char* kTwoFlows = "flows 2\nflow 0 1 4 0\nflow 0 2 26 0\n";

  std::vector<double> solved(const std::string& text) const {
    folder_.write("s.txt", text);
    const CommandResult result = simulate(folder_, {"flows", "s.txt", "out.txt"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::istringstream lines(folder_.read("out.txt"));
    std::vector<double> times;
    std::size_t index = 0;
    for (double time = 0; lines >> index >> time;) {
      EXPECT_EQ(index, times.size());
      times.push_back(time);
    }
    return times;
  }
  std::string refuses(const std::string& text) const {
    folder_.write("s.txt", text);
    return refused({"flows", "s.txt", "out.txt"});
  }
  static std::string with(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  std::string refuses_with(const std::string& from, const std::string& to) const {
    return refuses(with(scenario(kTwoFlows), from, to));
  }
  std::string refuses_table(const std::string& csv) const {
    folder_.write("f.csv", csv);
    return refused({"flows", "--cluster", "hgx-h100", "--flows", "f.csv", "--out", "out.csv"});
  }
};

TEST_F(Flows, TimesByHand) {
  // Alone until 0.5 s the first runs at link 1's 2 B/s, then too: it ends at 2 s. The second has 8
  // B/s from 0.5 s to 2 s, 12 bytes, and 14 more at 10 B/s: 3.4 s.
  const std::vector<double> times = solved(scenario(kTwoFlows));
  ASSERT_EQ(times.size(), 2u);
  EXPECT_DOUBLE_EQ(times[0], 2);
  EXPECT_DOUBLE_EQ(times[1], 3.4);
}

TEST_F(Flows, NoBytesEndWhereTheyBeginAndNoFlowsAreNoMistake) {
  const std::vector<double> times = solved(scenario("flows 2\nflow 0 2 0 7\nflow 0 1 0 3\n"));
  ASSERT_EQ(times.size(), 2u);
  EXPECT_DOUBLE_EQ(times[0], 7.5);  // after the latency of the route
  EXPECT_DOUBLE_EQ(times[1], 3);
  EXPECT_TRUE(solved(scenario("flows 0\n")).empty());
}

TEST_F(Flows, WhiteSpaceAndTheOrderOfSectionsAreFree) {
  EXPECT_EQ(solved("flowscenario 1 hosts 2 flows 1 flow 0 1 4 0\nlinks 1\tlink 0\r\n2 0 routes 1 "
                   "route 0 1 1 0"),
            std::vector<double>{2});
}

TEST_F(Flows, LateStartsKeepTheirPrecision) {
  const std::vector<double> times =
      solved(scenario("flows 2\nflow 0 1 1 1000000\nflow 0 1 1 1000000\n"));
  EXPECT_DOUBLE_EQ(times[0], 1000001);
  EXPECT_DOUBLE_EQ(times[1], 1000001);
}

TEST_F(Flows, TheSummaryAsJson) {
  folder_.write("s.txt", scenario(kTwoFlows));
  const CommandResult result = simulate(folder_, {"flows", "s.txt", "out.txt", "--json"});
  const nlohmann::json row = nlohmann::json::parse(result.out).at(0);
  EXPECT_EQ(row["flows"], 2);
  EXPECT_EQ(row["links"], 3);
  EXPECT_DOUBLE_EQ(row["makespan_s"], 3.4);
  EXPECT_DOUBLE_EQ(row["lower_bound_s"], 3);  // 30 bytes over link 0, from 0 s
  EXPECT_GT(row["peak_memory_bytes"], 0);
}

TEST_F(Flows, OverACluster) {
  // HGX H100: 450 GB/s of NVLink, 50 GB/s of NIC. Two flows leave GPU 0's NIC, weighted 1 to 3.
  folder_.write("f.csv",
                "start_s,src,dst,bytes,weight,cap_bytes_per_s\r\n0,0,8,12500000,1,\r\n"
                "0,0,16,37500000,3,\r\n0,3,4,1000000,1,1e9\r\n");
  const CommandResult result =
      simulate(folder_, {"flows", "--cluster", "hgx-h100", "--set", "nodes=4", "--flows", "f.csv",
                         "--out", "out.csv"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(folder_.read("out.csv"));
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "start_s,src,dst,bytes,weight,cap_bytes_per_s,finish_s");
  for (const double expected : {1e-3, 1e-3, 1e-3}) {
    std::getline(lines, line);
    const double finish = std::stod(line.substr(line.rfind(',') + 1));
    EXPECT_GT(finish, expected);  // the latency of the route, some microseconds
    EXPECT_LT(finish, expected + 5e-6);
  }
}

TEST_F(Flows, WhatIsNoScenario) {
  EXPECT_EQ(refuses(""),
            "s.txt:1: this is not a flow scenario; its first line is 'flowscenario 1'\n");
  EXPECT_EQ(refuses_with("flow 0 2", "flew 0 2"),
            "s.txt:13: unknown keyword 'flew'; the keywords are hosts, links, link, routes, route, "
            "flows, flow\n");
  EXPECT_EQ(refused({"flows", "absent.txt", "o"}),
            "absent.txt: cannot be read: No such file or directory\n");
  EXPECT_EQ(refused({"flows", ".", "o"}), ".: cannot be read: it is a folder\n");
}

TEST_F(Flows, Numbers) {
  EXPECT_EQ(refuses_with("26 0", "-26 0"),
            "s.txt:13: the number of bytes is '-26', but cannot be negative\n");
  EXPECT_EQ(refuses_with("26 0", "2.5 0"),
            "s.txt:13: the number of bytes is '2.5', but must be a whole number\n");
  EXPECT_EQ(refuses_with("26 0", "1e300 0"),
            "s.txt:13: the number of bytes is '1e300', more than 2^53\n");
  EXPECT_EQ(refuses_with("26 0", "26 nan"),
            "s.txt:13: the start is 'nan', which is not a finite number\n");
  EXPECT_EQ(refuses_with("26 0", "26 -1"), "s.txt:13: the start is '-1', but cannot be negative\n");
  EXPECT_EQ(refuses_with("link 0 10", "link 0 inf"),
            "s.txt:5: the capacity is 'inf', which is not a finite number\n");
  EXPECT_EQ(refuses_with("link 0 10", "link 0 fast"),
            "s.txt:5: the capacity is 'fast', not a number\n");
  EXPECT_EQ(refuses_with("1e9 0.5", "1e9 1e999"),
            "s.txt:7: the latency is '1e999', which is not a finite number\n");
}

TEST_F(Flows, CountsThatTheFileCannotHold) {
  EXPECT_EQ(refuses_with("flows 2", "flows 1000000000"),
            "s.txt:11: 1000000000 flows are announced, but the file has only 168 bytes; is it "
            "truncated?\n");
  EXPECT_EQ(refuses_with("flows 2", "flows 3"),
            "s.txt: 'flows' announces 3, but there are 2; is the file truncated?\n");
  EXPECT_EQ(refuses_with("routes 2", "routes 1"), "s.txt: 'routes' announces 1, but there are 2\n");
  EXPECT_EQ(refuses(scenario("")), "s.txt: 'flows' is missing; is it truncated?\n");
  EXPECT_EQ(refuses(scenario("flows 1\nflow 0 1 4")),
            "s.txt:12: the file ends where the start is due; is it truncated?\n");
}

TEST_F(Flows, LinksAndRoutes) {
  EXPECT_EQ(refuses_with("link 1 2 0", "link 0 2 0"),
            "s.txt:6: link 0 stands here a second time\n");
  EXPECT_EQ(refuses_with("link 1 2 0", "link 3 2 0"),
            "s.txt:6: there is no link 3; 'links' announces 3\n");
  EXPECT_EQ(refuses_with("route 0 1 2 0 1", "route 0 1 2 0 7"),
            "s.txt:9: there is no link 7; 'links' announces 3\n");
  EXPECT_EQ(refuses_with("route 0 1 2 0 1", "route 0 1 2 1 1"),
            "s.txt:9: the route crosses link 1 twice\n");
  EXPECT_EQ(refuses_with("route 0 1 2 0 1", "route 0 1 0"),
            "s.txt:9: a route needs a link: nothing would limit its flows\n");
  EXPECT_EQ(refuses_with("route 0 1", "route 0 2"),
            "s.txt:10: the route from 0 to 2 stands here a second time\n");
  EXPECT_EQ(refuses_with("route 0 1", "route 0 3"),
            "s.txt:9: the destination is 3, but there are 3 hosts, 0 to 2\n");
  EXPECT_EQ(refuses_with("flow 0 2", "flow 1 2"),
            "s.txt:13: there is no route from 1 to 2; add 'route 1 2 K LINK...'\n");
  EXPECT_EQ(
      refuses_with("flow 0 2", "flow 2 2"),
      "s.txt:13: a flow from host 2 to itself; what stays on a host crosses no link: leave it "
      "out\n");
}

TEST_F(Flows, ALinkWithoutCapacityStarvesAndSaysSo) {
  EXPECT_EQ(
      refuses_with("link 1 2 0", "link 1 0 0"),
      "s.txt:12: flow 0 starves: link 1 of its route has no capacity; it would wait forever\n");
  // With nothing to carry it is no matter.
  EXPECT_EQ(solved(with(scenario("flows 1\nflow 0 1 0 3\n"), "link 1 2 0", "link 1 0 0")),
            std::vector<double>{3});
}

TEST_F(Flows, Tables) {
  EXPECT_EQ(refuses_table(""), "f.csv:1: the file is empty; its first line names the columns\n");
  EXPECT_EQ(refuses_table("src,dst,bytes\n"),
            "f.csv:1: the column 'start_s' is missing; the first line is "
            "src,dst,bytes,start_s[,weight][,cap_bytes_per_s]\n");
  EXPECT_EQ(refuses_table("src,dst,byte,start_s\n"),
            "f.csv:1: there is no column 'byte'; did you mean 'bytes'?\n");
  EXPECT_EQ(refuses_table("src,dst,bytes,start_s\n0,1,5\n"),
            "f.csv:2: the line has 3 fields, the first one 4\n");
  EXPECT_EQ(refuses_table("src,dst,bytes,start_s\n0,8,5,0\n"),
            "f.csv:2: dst is 8, but hgx-h100 has 8 GPUs, counted from 0; --set nodes=N makes it "
            "larger\n");
  EXPECT_EQ(refuses_table("src,dst,bytes,start_s,weight\n0,1,5,0,1\n\n0,1,5,0,0\n"),
            "f.csv:4: weight must be more than 0\n");
  EXPECT_EQ(refuses_table("src,dst,bytes,start_s\n0,1,,0\n"), "f.csv:2: 'bytes' is empty\n");
  EXPECT_EQ(refuses_table("src,dst,bytes,start_s\n4,4,1,0\n"),
            "f.csv:2: a flow from GPU 4 to itself; what stays on a GPU crosses no link: leave it "
            "out\n");
}

TEST_F(Flows, TheCommandLine) {
  folder_.write("s.txt", scenario(kTwoFlows));
  const std::string forms =
      "; `simulate flows SCENARIO.txt OUT.txt` or `simulate flows --cluster NAME --flows FILE.csv "
      "--out FILE.csv`\n";
  EXPECT_EQ(refused({"flows"}), "no flows are named" + forms);
  EXPECT_EQ(refused({"flows", "s.txt"}), "the file for the results is missing" + forms);
  EXPECT_EQ(refused({"flows", "--cluster", "hgx-h100", "--out", "o"}),
            "--flows is missing" + forms);
  EXPECT_EQ(refused({"flows", "s.txt", "o", "--cluster", "hgx-h100"}),
            "a scenario file has its own links: --cluster, --set, --flows and --out do not go with "
            "it" +
                forms);
  EXPECT_EQ(refused({"flows", "s.txt", "s.txt"}),
            "s.txt: the result would be written over the flows it is made from\n");
  EXPECT_EQ(refused({"flows", "s.txt", "absent/o"}),
            "absent/o: cannot be written: No such file or directory\n");
}

}  // namespace
}  // namespace sim::testing
