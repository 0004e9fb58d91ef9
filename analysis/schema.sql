-- The results database. Units are in the column names; PRAGMA user_version is kSchemaVersion.
-- Rows of a step are in the file exactly when its row in `steps` is.

CREATE TABLE runs (
  run_id      INTEGER PRIMARY KEY,
  name        TEXT NOT NULL,
  kind        TEXT NOT NULL,
  model       TEXT NOT NULL,
  cluster     TEXT NOT NULL,
  devices     INTEGER NOT NULL,
  scenario    TEXT NOT NULL,     -- YAML as run, defaults included
  seed        NOT NULL,          -- integer; text above 2^63 - 1, hence no declared type
  version     TEXT NOT NULL,
  fingerprint TEXT,              -- null until finished
  status      TEXT NOT NULL CHECK (status IN ('running', 'finished', 'failed')),
  started_at  TEXT NOT NULL,
  wall_s      REAL               -- null until finished
);

CREATE TABLE metrics (
  run_id INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, unit TEXT NOT NULL,
  PRIMARY KEY (run_id, name)
) WITHOUT ROWID;

CREATE TABLE steps (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, start_ps INTEGER NOT NULL, duration_ps INTEGER NOT NULL,
  tokens INTEGER NOT NULL, dropped_choices INTEGER NOT NULL, exposed_communication_fraction REAL NOT NULL,
  PRIMARY KEY (run_id, step)
) WITHOUT ROWID;

CREATE TABLE layers (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, layer INTEGER NOT NULL,
  attention_ps INTEGER NOT NULL, gate_ps INTEGER NOT NULL,
  dispatch_ps INTEGER NOT NULL, dispatch_network_ps INTEGER NOT NULL,
  expert_ps INTEGER NOT NULL, shared_expert_ps INTEGER NOT NULL,
  combine_ps INTEGER NOT NULL, combine_network_ps INTEGER NOT NULL,
  imbalance_max_over_mean REAL NOT NULL, expert_imbalance_max_over_mean REAL NOT NULL,
  tokens INTEGER NOT NULL, rows INTEGER NOT NULL, dropped INTEGER NOT NULL
);

CREATE TABLE devices (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, device INTEGER NOT NULL,
  attention_ps INTEGER NOT NULL, expert_ps INTEGER NOT NULL, dense_ps INTEGER NOT NULL,
  communication_ps INTEGER NOT NULL, other_ps INTEGER NOT NULL,
  wait_peer_ps INTEGER NOT NULL, network_ps INTEGER NOT NULL, launch_ps INTEGER NOT NULL,
  pipeline_bubble_ps INTEGER NOT NULL, idle_end_ps INTEGER NOT NULL, memory_bytes INTEGER NOT NULL
);

CREATE TABLE links (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, link TEXT NOT NULL, bytes INTEGER NOT NULL,
  busy_ps INTEGER NOT NULL, capacity_bytes_per_s REAL NOT NULL, utilisation REAL NOT NULL
);

CREATE TABLE experts (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, layer INTEGER NOT NULL, expert INTEGER NOT NULL,
  rows INTEGER NOT NULL, replicas INTEGER NOT NULL
);

CREATE TABLE requests (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, request INTEGER NOT NULL, device INTEGER NOT NULL,
  arrival_ps INTEGER NOT NULL, first_token_ps INTEGER NOT NULL, finish_ps INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL
);

CREATE TABLE causes (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, cause TEXT NOT NULL, duration_ps INTEGER NOT NULL
);

CREATE TABLE waits (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, layer INTEGER, device INTEGER NOT NULL,
  waited_for_device INTEGER, cause TEXT NOT NULL, duration_ps INTEGER NOT NULL
);

CREATE TABLE spans (
  run_id INTEGER NOT NULL, step INTEGER NOT NULL, device INTEGER NOT NULL, stream TEXT NOT NULL,
  name TEXT NOT NULL, layer INTEGER, start_ps INTEGER NOT NULL, duration_ps INTEGER NOT NULL
);

CREATE TABLE traffic (
  run_id INTEGER NOT NULL, layer INTEGER NOT NULL, source_device INTEGER NOT NULL,
  destination_device INTEGER NOT NULL, phase TEXT NOT NULL, bytes INTEGER NOT NULL
);

CREATE TABLE costs (
  run_id INTEGER NOT NULL, kernel TEXT NOT NULL, device TEXT NOT NULL, label TEXT NOT NULL,
  source TEXT NOT NULL, duration_ps INTEGER NOT NULL,
  in_range INTEGER NOT NULL -- 0: asked outside its calibrated range
);

CREATE TABLE memory (
  run_id INTEGER NOT NULL, device INTEGER NOT NULL, item TEXT NOT NULL, bytes INTEGER NOT NULL
);

-- What the named questions ask about: the latest run, unless the query names another one.
CREATE VIEW this_run AS SELECT * FROM runs WHERE run_id = (SELECT max(run_id) FROM runs);
