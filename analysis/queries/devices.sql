-- what each device's compute stream did, as shares of the steps
WITH total AS (
  SELECT nullif(sum(duration_ps), 0) / 1.0 AS ps FROM steps WHERE run_id = (SELECT run_id FROM this_run)
)
SELECT device, sum(attention_ps) / ps AS attention, sum(expert_ps) / ps AS expert, sum(dense_ps) / ps AS dense,
       sum(communication_ps) / ps AS communication, sum(other_ps) / ps AS other, sum(wait_peer_ps) / ps AS wait_peer,
       sum(network_ps) / ps AS network, sum(launch_ps) / ps AS launch, sum(pipeline_bubble_ps) / ps AS pipeline_bubble,
       sum(idle_end_ps) / ps AS idle_end, max(memory_bytes) AS memory_bytes
FROM devices, total WHERE run_id = (SELECT run_id FROM this_run) GROUP BY device ORDER BY device;
