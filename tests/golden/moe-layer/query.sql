SELECT step, duration_ps FROM steps ORDER BY step;
SELECT step, cause, duration_ps FROM causes ORDER BY step, cause;
SELECT device, waited_for_device, cause, duration_ps FROM waits WHERE step = 0
ORDER BY duration_ps DESC, device, waited_for_device, cause LIMIT 20;
SELECT source_device, sum(bytes) AS bytes FROM traffic WHERE phase = 'dispatch' GROUP BY source_device ORDER BY source_device;
