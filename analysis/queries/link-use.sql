-- the 30 busiest links: utilisation (mean and highest of a step), bytes, time with traffic
SELECT link, avg(utilisation) AS utilisation, max(utilisation) AS highest_step, sum(bytes) AS bytes,
       sum(busy_ps) / 1e12 AS busy_s, max(capacity_bytes_per_s) AS capacity_bytes_per_s
FROM links WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY link ORDER BY avg(utilisation) DESC, sum(bytes) DESC, link LIMIT 30;
