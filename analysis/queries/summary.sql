-- the run and its metrics
SELECT name, value, unit FROM (
  SELECT 0 AS place, 'run' AS name, run_id AS value, name || ' (' || status || ')' AS unit FROM this_run
  UNION ALL SELECT 1, 'devices', devices, cluster FROM this_run
  UNION ALL SELECT 2, 'steps', count(*), '' FROM steps WHERE run_id = (SELECT run_id FROM this_run)
  UNION ALL SELECT 3, name, value, unit FROM metrics WHERE run_id = (SELECT run_id FROM this_run)
) ORDER BY place, name;
