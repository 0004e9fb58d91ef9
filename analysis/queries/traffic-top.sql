-- the 30 device pairs and phases with the most bytes
SELECT source_device, destination_device, phase, sum(bytes) AS bytes,
       1.0 * sum(bytes) / nullif((SELECT sum(bytes) FROM traffic WHERE run_id = (SELECT run_id FROM this_run)), 0)
         AS share
FROM traffic WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY source_device, destination_device, phase
ORDER BY sum(bytes) DESC, source_device, destination_device, phase LIMIT 30;
