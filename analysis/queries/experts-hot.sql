-- the 30 experts with the most rows: share of their layer over an equal share, copies
WITH loads AS (
  SELECT layer, expert, sum(rows) AS rows, avg(replicas) AS replicas FROM experts
  WHERE run_id = (SELECT run_id FROM this_run) GROUP BY layer, expert
)
SELECT layer, expert, rows, rows / nullif(avg(rows) OVER (PARTITION BY layer), 0) AS over_mean, replicas
FROM loads ORDER BY rows DESC, layer, expert LIMIT 30;
