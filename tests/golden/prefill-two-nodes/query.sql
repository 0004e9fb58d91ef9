SELECT layer, dispatch_ps, dispatch_network_ps, expert_ps, combine_ps, combine_network_ps FROM layers ORDER BY layer;
SELECT link, bytes, busy_ps FROM links WHERE link LIKE '%/gpu0/%' ORDER BY link;
SELECT phase, source_device / 4 AS source_node, destination_device / 4 AS destination_node, sum(bytes) AS bytes
FROM traffic GROUP BY phase, source_node, destination_node ORDER BY phase, source_node, destination_node;
SELECT cause, duration_ps FROM causes ORDER BY cause;
