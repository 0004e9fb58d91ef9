-- on whose word the kernel times rest: measured, fitted, published, roofline, assumed
SELECT label, sum(duration_ps) / 1e12 AS device_s, 1.0 * sum(duration_ps) /
       nullif((SELECT sum(duration_ps) FROM costs WHERE run_id = (SELECT run_id FROM this_run)), 0) AS share,
       count(DISTINCT kernel) AS kernels, count(DISTINCT source) AS sources
FROM costs WHERE run_id = (SELECT run_id FROM this_run) GROUP BY label ORDER BY sum(duration_ps) DESC, label;
