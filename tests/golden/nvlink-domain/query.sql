SELECT step, duration_ps, round(exposed_communication_fraction, 6) AS exposed FROM steps ORDER BY step;
SELECT layer, dispatch_ps, expert_ps, shared_expert_ps, combine_ps, round(imbalance_max_over_mean, 6) AS imbalance
FROM layers ORDER BY layer;
SELECT layer, source_device, destination_device, bytes FROM traffic WHERE phase = 'dispatch' AND source_device < 2
ORDER BY layer, source_device, destination_device;
SELECT cause, duration_ps FROM causes ORDER BY cause;
