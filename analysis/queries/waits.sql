-- who waits for whom, and why: the 30 longest in total
SELECT device, waited_for_device, cause, count(*) AS times, sum(duration_ps) / 1e12 AS total_s,
       max(duration_ps) / 1e6 AS longest_us, 1.0 * sum(duration_ps) /
       nullif((SELECT sum(duration_ps) FROM steps WHERE run_id = (SELECT run_id FROM this_run)), 0) AS share_of_steps
FROM waits WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY device, waited_for_device, cause
ORDER BY sum(duration_ps) DESC, device, waited_for_device, cause LIMIT 30;
