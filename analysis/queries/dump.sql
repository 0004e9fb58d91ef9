-- every column that must not change between two runs of the same scenario, seed and program
SELECT 'runs' AS "table", name, kind, model, cluster, devices, scenario, seed, version, fingerprint, status
FROM this_run;
SELECT 'metrics' AS "table", name, value, unit
FROM metrics WHERE run_id = (SELECT run_id FROM this_run) ORDER BY name;
SELECT 'steps' AS "table", step, start_ps, duration_ps, tokens, dropped_choices, exposed_communication_fraction
FROM steps WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step;
SELECT 'layers' AS "table", step, layer, attention_ps, gate_ps, dispatch_ps, dispatch_network_ps, expert_ps,
       shared_expert_ps, combine_ps, combine_network_ps, imbalance_max_over_mean, expert_imbalance_max_over_mean,
       tokens, rows, dropped
FROM layers WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, layer;
SELECT 'devices' AS "table", step, device, attention_ps, expert_ps, dense_ps, communication_ps, other_ps,
       wait_peer_ps, network_ps, launch_ps, pipeline_bubble_ps, idle_end_ps, memory_bytes
FROM devices WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, device;
SELECT 'links' AS "table", step, link, bytes, busy_ps, capacity_bytes_per_s, utilisation
FROM links WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, link;
SELECT 'experts' AS "table", step, layer, expert, rows, replicas
FROM experts WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, layer, expert;
SELECT 'requests' AS "table", step, request, device, arrival_ps, first_token_ps, finish_ps, prompt_tokens,
       output_tokens
FROM requests WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, request;
SELECT 'causes' AS "table", step, cause, duration_ps
FROM causes WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, cause, duration_ps;
SELECT 'waits' AS "table", step, layer, device, waited_for_device, cause, duration_ps
FROM waits WHERE run_id = (SELECT run_id FROM this_run)
ORDER BY step, layer, device, waited_for_device, cause, duration_ps;
SELECT 'traffic' AS "table", layer, source_device, destination_device, phase, bytes
FROM traffic WHERE run_id = (SELECT run_id FROM this_run)
ORDER BY layer, source_device, destination_device, phase, bytes;
SELECT 'costs' AS "table", kernel, device, label, source, duration_ps, in_range
FROM costs WHERE run_id = (SELECT run_id FROM this_run)
ORDER BY kernel, device, label, source, duration_ps, in_range;
SELECT 'memory' AS "table", device, item, bytes
FROM memory WHERE run_id = (SELECT run_id FROM this_run) ORDER BY device, item, bytes;
SELECT 'spans' AS "table", step, device, stream, name, layer, start_ps, duration_ps
FROM spans WHERE run_id = (SELECT run_id FROM this_run) ORDER BY step, start_ps, device, stream, name, duration_ps;
