-- the 20 layers that take longest, and which phase it is (means over steps and ranks)
SELECT layer,
       avg(attention_ps + gate_ps + dispatch_ps + expert_ps + shared_expert_ps + combine_ps) / 1e6 AS phases_us,
       avg(attention_ps) / 1e6 AS attention_us, avg(dispatch_ps) / 1e6 AS dispatch_us,
       avg(dispatch_network_ps) / 1e6 AS dispatch_network_us, avg(expert_ps) / 1e6 AS expert_us,
       avg(combine_ps) / 1e6 AS combine_us, avg(imbalance_max_over_mean) AS imbalance_max_over_mean
FROM layers WHERE run_id = (SELECT run_id FROM this_run)
GROUP BY layer ORDER BY phases_us DESC, layer LIMIT 20;
