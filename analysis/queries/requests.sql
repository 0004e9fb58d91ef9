-- every finished request: time to first token, time per output token
SELECT request, device, (first_token_ps - arrival_ps) / 1e12 AS time_to_first_token_s,
       (finish_ps - first_token_ps) / 1e12 / nullif(output_tokens - 1, 0) AS time_per_output_token_s,
       prompt_tokens, output_tokens
FROM requests WHERE run_id = (SELECT run_id FROM this_run) ORDER BY request;
