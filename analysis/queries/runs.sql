-- every run in this file
SELECT run_id, name, kind, model, cluster, devices, seed, status, fingerprint, wall_s, started_at,
       (SELECT count(*) FROM steps WHERE steps.run_id = runs.run_id) AS steps
FROM runs ORDER BY run_id;
