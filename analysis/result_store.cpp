#include "analysis/result_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <limits>
#include <vector>

#include "analysis/embedded_sql.h"
#include "analysis/sqlite_handle.h"
#include "sim/core/error.h"

namespace sim {
namespace {

enum Table {
  kSteps,
  kLayers,
  kDevices,
  kLinks,
  kExperts,
  kRequests,
  kCauses,
  kWaits,
  kSpans,
  kMetrics,
  kTraffic,
  kCosts,
  kMemory,
  kTables
};

struct TableColumns {
  std::string_view table;
  std::string_view columns;  // after run_id, in the order in which write() binds them
};

constexpr std::array<TableColumns, kTables> kColumns{{
    {"steps",
     "step, start_ps, duration_ps, tokens, dropped_choices, exposed_communication_fraction"},
    {"layers",
     "step, layer, attention_ps, gate_ps, dispatch_ps, dispatch_network_ps, expert_ps, "
     "shared_expert_ps, combine_ps, combine_network_ps, imbalance_max_over_mean, "
     "expert_imbalance_max_over_mean, tokens, rows, dropped"},
    {"devices",
     "step, device, attention_ps, expert_ps, dense_ps, communication_ps, other_ps, wait_peer_ps, "
     "network_ps, launch_ps, pipeline_bubble_ps, idle_end_ps, memory_bytes"},
    {"links", "step, link, bytes, busy_ps, capacity_bytes_per_s, utilisation"},
    {"experts", "step, layer, expert, rows, replicas"},
    {"requests",
     "step, request, device, arrival_ps, first_token_ps, finish_ps, prompt_tokens, output_tokens"},
    {"causes", "step, cause, duration_ps"},
    {"waits", "step, layer, device, waited_for_device, cause, duration_ps"},
    {"spans", "step, device, stream, name, layer, start_ps, duration_ps"},
    {"metrics", "name, value, unit"},
    {"traffic", "layer, source_device, destination_device, phase, bytes"},
    {"costs", "kernel, device, label, source, duration_ps, in_range"},
    {"memory", "device, item, bytes"},
}};

std::string insert_sql(const TableColumns& table) {
  std::string marks = "?";
  for (std::int64_t i = std::count(table.columns.begin(), table.columns.end(), ',') + 1; i > 0;
       --i) {
    marks += ", ?";
  }
  return fmt::format("INSERT INTO {} (run_id, {}) VALUES ({})", table.table, table.columns, marks);
}

class Transaction {
 public:
  explicit Transaction(SqliteFile& file) : file_(file) { file_.execute("BEGIN IMMEDIATE"); }
  ~Transaction() {
    if (done_) return;
    try {
      file_.execute("ROLLBACK");
    } catch (const std::exception&) {  // SQLite has already rolled back, as it does on a full disk
    }
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() {
    file_.execute("COMMIT");
    done_ = true;
  }

 private:
  SqliteFile& file_;
  bool done_ = false;
};

// Makes the tables in an empty file, accepts a results database, refuses the rest.
void prepare_schema(SqliteFile& file) {
  Transaction transaction(file);  // so that two processes do not make them at once
  const bool empty = file.number("SELECT count(*) FROM sqlite_master") == 0 &&
                     file.number("PRAGMA application_id") == 0 &&
                     file.number("PRAGMA user_version") == 0;
  if (!empty) return file.check_is_results();
  file.execute(std::string(schema_sql()));
  file.execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}",
                           kResultApplicationId, kSchemaVersion));
  transaction.commit();
}

// A write-ahead log: readers may watch while we write. Where it is refused (another program is just
// opening the file, a network disk) the rollback journal stays, which is as safe and less parallel.
void prefer_log(SqliteFile& file) {
  try {
    file.execute("PRAGMA journal_mode = WAL");
  } catch (const Error&) {
  }
}

// A file that we made and could not fill is not left behind.
SqliteFile open_results(const std::string& path) {
  std::error_code ignored;
  const bool existed = std::filesystem::exists(path, ignored);
  try {
    SqliteFile file(path, SqliteFile::Mode::kWrite);
    prepare_schema(file);
    file.execute("PRAGMA synchronous = NORMAL");
    prefer_log(file);
    return file;
  } catch (const std::exception&) {
    if (!existed) {
      for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
        std::filesystem::remove(path + suffix, ignored);
      }
    }
    throw;
  }
}

}  // namespace

struct ResultStore::Impl {
  explicit Impl(const std::string& path) : file(open_results(path)) {
    statements.reserve(kTables);
    for (const TableColumns& table : kColumns) statements.emplace_back(file, insert_sql(table));
  }

  template <class... Values>
  void insert(Table table, const Values&... values) {
    SqliteStatement& statement = statements[table];
    SIM_CHECK(statement.parameters() == 1 + static_cast<int>(sizeof...(values)),
              "every column gets its value");
    statement.bind(1, run_id);
    int index = 1;
    (statement.bind(++index, values), ...);
    statement.step();
    statement.reset();
  }

  void write(std::int64_t, const StepRecord& r) {
    insert(kSteps, r.step, r.start, r.duration, r.tokens, r.dropped_choices,
           r.exposed_communication_fraction);
  }
  void write(std::int64_t step, const LayerRecord& r) {
    insert(kLayers, step, r.layer, r.attention, r.gate, r.dispatch, r.dispatch_network, r.expert,
           r.shared_expert, r.combine, r.combine_network, r.imbalance_max_over_mean,
           r.expert_imbalance_max_over_mean, r.tokens, r.rows, r.dropped);
  }
  void write(std::int64_t step, const DeviceRecord& r) {
    insert(kDevices, step, r.device, r.attention, r.expert, r.dense, r.communication, r.other,
           r.wait_peer, r.network, r.launch, r.pipeline_bubble, r.idle_end, r.memory);
  }
  void write(std::int64_t step, const LinkRecord& r) {
    insert(kLinks, step, r.link, r.bytes, r.busy, r.capacity, r.utilisation);
  }
  void write(std::int64_t step, const ExpertRecord& r) {
    insert(kExperts, step, r.layer, r.expert, r.rows, r.replicas);
  }
  void write(std::int64_t step, const RequestRecord& r) {
    insert(kRequests, step, r.request, r.device, r.arrival, r.first_token, r.finish,
           r.prompt_tokens, r.output_tokens);
  }
  void write(std::int64_t step, const CauseRecord& r) {
    insert(kCauses, step, r.cause, r.duration);
  }
  void write(std::int64_t step, const WaitRecord& r) {
    insert(kWaits, step, r.layer, r.device, r.waited_for, r.cause, r.duration);
  }
  void write(std::int64_t step, const SpanRecord& r) {
    insert(kSpans, step, r.device, r.stream, r.name, r.layer, r.start, r.duration);
  }
  template <class Record>
  void write_all(std::int64_t step, const std::vector<Record>& records) {
    for (const Record& record : records) write(step, record);
  }

  // A row that failed leaves its statement half done; the next one must find it clean.
  void reset_all() {
    for (SqliteStatement& statement : statements) statement.reset();
  }

  SqliteFile file;
  std::vector<SqliteStatement> statements;  // by Table
  std::int64_t run_id = 0;
  bool running = false;
};

ResultStore::ResultStore(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}

ResultStore::~ResultStore() {
  impl_->statements.clear();
  try {  // Back to one plain file that opens from a read-only folder too; refused while watched.
    impl_->file.execute("PRAGMA busy_timeout = 0; PRAGMA journal_mode = DELETE");
  } catch (const std::exception&) {  // a reader is there, or the disk is full: the log stays, valid
  }
}

std::int64_t ResultStore::begin_run(const RunRecord& run) {
  SIM_CHECK(!impl_->running, "the run before is finished");
  Transaction transaction(impl_->file);
  SqliteStatement insert(
      impl_->file,
      "INSERT INTO runs (name, kind, model, cluster, devices, scenario, seed, "
      "version, started_at, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'running') "
      "RETURNING run_id");
  insert.bind(1, run.name);
  insert.bind(2, run.kind);
  insert.bind(3, run.model);
  insert.bind(4, run.cluster);
  insert.bind(5, run.devices);
  insert.bind(6, run.scenario);
  const std::string seed = std::to_string(run.seed);
  if (run.seed <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    insert.bind(7, static_cast<std::int64_t>(run.seed));
  } else {
    insert.bind(7, seed);
  }
  insert.bind(8, run.version);
  insert.bind(9, run.started_at);
  SIM_CHECK(insert.step(), "an insert that returns its row");
  const std::int64_t run_id = insert.integer(0);
  insert.reset();
  transaction.commit();
  impl_->run_id = run_id;
  impl_->running = true;
  return run_id;
}

void ResultStore::add(const StepBatch& batch) {
  SIM_CHECK(impl_->running, "a run has begun");
  impl_->reset_all();
  Transaction transaction(impl_->file);
  const std::int64_t step = batch.step.step;
  impl_->write(step, batch.step);
  impl_->write_all(step, batch.layers);
  impl_->write_all(step, batch.devices);
  impl_->write_all(step, batch.links);
  impl_->write_all(step, batch.experts);
  impl_->write_all(step, batch.requests);
  impl_->write_all(step, batch.causes);
  impl_->write_all(step, batch.waits);
  impl_->write_all(step, batch.spans);
  transaction.commit();
}

void ResultStore::finish_run(const RunResult& result) {
  SIM_CHECK(impl_->running, "a run has begun");
  impl_->reset_all();
  Transaction transaction(impl_->file);
  for (const MetricRecord& r : result.metrics) impl_->insert(kMetrics, r.name, r.value, r.unit);
  for (const TrafficRecord& r : result.traffic) {
    impl_->insert(kTraffic, r.layer, r.source, r.destination, r.phase, r.bytes);
  }
  for (const CostRecord& r : result.costs) {
    impl_->insert(kCosts, r.kernel, r.device, r.label, r.source, r.duration,
                  std::int64_t{r.in_range});
  }
  for (const MemoryRecord& r : result.memory) impl_->insert(kMemory, r.device, r.item, r.bytes);
  SqliteStatement update(
      impl_->file, "UPDATE runs SET fingerprint = ?, wall_s = ?, status = ? WHERE run_id = ?");
  update.bind(1, result.fingerprint);
  update.bind(2, result.wall_s);
  update.bind(3, std::string(result.failed ? "failed" : "finished"));
  update.bind(4, impl_->run_id);
  update.step();
  update.reset();
  transaction.commit();
  impl_->running = false;
}

}  // namespace sim
