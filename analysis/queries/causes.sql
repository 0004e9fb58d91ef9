-- what the steps' time is made of along the critical path; shares add up to 1
SELECT cause, sum(duration_ps) / 1e12 AS total_s, 1.0 * sum(duration_ps) /
       nullif((SELECT sum(duration_ps) FROM causes WHERE run_id = (SELECT run_id FROM this_run)), 0) AS share
FROM causes WHERE run_id = (SELECT run_id FROM this_run) GROUP BY cause ORDER BY sum(duration_ps) DESC, cause;
