-- every step: when, how long, tokens, exposed communication
SELECT step, start_ps / 1e12 AS start_s, duration_ps / 1e12 AS duration_s, tokens,
       tokens / nullif(duration_ps / 1e12, 0) AS tokens_per_s, exposed_communication_fraction, dropped_choices
FROM steps WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step;
