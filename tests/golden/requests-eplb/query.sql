SELECT step, layer, tokens, rows, round(imbalance_max_over_mean, 6) AS ranks,
       round(expert_imbalance_max_over_mean, 6) AS experts FROM layers ORDER BY step, layer;
SELECT layer, expert, sum(rows) AS rows, max(replicas) AS replicas FROM experts
GROUP BY layer, expert HAVING max(replicas) > 1 ORDER BY layer, expert;
SELECT step, duration_ps FROM steps ORDER BY step;
