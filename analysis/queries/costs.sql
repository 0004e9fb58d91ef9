-- every kernel's time, with its label and source, and whether inside the calibrated range
SELECT kernel, device, label, source, in_range, sum(duration_ps) / 1e12 AS device_s
FROM costs WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY kernel, device, label, source, in_range ORDER BY sum(duration_ps) DESC, kernel, device, label, source, in_range;
