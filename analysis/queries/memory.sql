-- memory by item: on the fullest device, and the mean over devices
WITH totals AS (
  SELECT device, sum(bytes) AS bytes FROM memory WHERE run_id = (SELECT run_id FROM this_run) GROUP BY device
), fullest AS (
  SELECT device FROM totals ORDER BY bytes DESC, device LIMIT 1
)
SELECT item, sum(bytes) FILTER (WHERE device = (SELECT device FROM fullest)) AS bytes_on_fullest,
       1.0 * sum(bytes) / (SELECT count(*) FROM totals) AS bytes_mean, (SELECT device FROM fullest) AS fullest_device
FROM memory WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY item ORDER BY bytes_on_fullest DESC, item;
