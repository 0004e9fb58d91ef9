-- imbalance of every layer, per rank after replication and per expert: mean and worst step
SELECT layer, avg(imbalance_max_over_mean) AS rank_mean, max(imbalance_max_over_mean) AS rank_worst,
       avg(expert_imbalance_max_over_mean) AS expert_mean, max(expert_imbalance_max_over_mean) AS expert_worst,
       sum(rows) AS rows, sum(dropped) AS dropped
FROM layers WHERE run_id = (SELECT run_id FROM this_run) GROUP BY layer ORDER BY rank_mean DESC, layer;
