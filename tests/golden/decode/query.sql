SELECT step, duration_ps, tokens FROM steps ORDER BY step;
SELECT step, layer, attention_ps, gate_ps, dispatch_ps, expert_ps, shared_expert_ps, combine_ps,
       round(imbalance_max_over_mean, 6) AS imbalance FROM layers ORDER BY step, layer;
SELECT step, cause, duration_ps FROM causes ORDER BY step, cause;
SELECT item, bytes FROM memory WHERE device = 0 ORDER BY item;
