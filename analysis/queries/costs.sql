-- every kernel's time, with its label and source
SELECT kernel, device, label, source, sum(duration_ps) / 1e12 AS device_s
FROM costs WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY kernel, device, label, source ORDER BY sum(duration_ps) DESC, kernel, device, label, source;
