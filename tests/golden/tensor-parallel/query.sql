SELECT device, attention_ps, expert_ps, dense_ps, other_ps, wait_peer_ps, network_ps, launch_ps, idle_end_ps
FROM devices ORDER BY device;
SELECT layer, phase, sum(bytes) AS bytes FROM traffic GROUP BY layer, phase ORDER BY layer, phase;
SELECT kernel, label, duration_ps FROM costs ORDER BY kernel, label;
