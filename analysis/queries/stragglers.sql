-- the 20 devices that others wait for most
SELECT waited_for_device, count(DISTINCT device) AS devices_waiting, count(*) AS times,
       sum(duration_ps) / 1e12 AS total_s
FROM waits WHERE run_id = (SELECT run_id FROM this_run) AND waited_for_device IS NOT NULL
GROUP BY waited_for_device ORDER BY sum(duration_ps) DESC, waited_for_device LIMIT 20;
