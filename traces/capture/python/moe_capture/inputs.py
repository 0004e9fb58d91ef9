"""What the forward of a language model was called with: which token a row of a router is."""


class Inputs:
    """What the outermost forward was called with: token ids, mask, positions; all [batch, sequence]
    or None.
    """

    def __init__(self, signature, arguments, keywords):
        named = dict(keywords)
        try:
            named = signature.bind_partial(*arguments, **keywords).arguments
            named.update(named.pop("kwargs", None) or {})
        except TypeError:
            pass  # the call itself will say what is wrong
        self.token_ids = named.get("input_ids")
        if self.token_ids is None:
            matrices = [
                a
                for a in arguments
                if hasattr(a, "dim") and a.dim() == 2 and not a.is_floating_point()
            ]
            self.token_ids = matrices[0] if matrices else None
        self.shape = None if self.token_ids is None else tuple(self.token_ids.shape)
        if self.shape is None and hasattr(named.get("inputs_embeds"), "shape"):
            self.shape = tuple(named["inputs_embeds"].shape[:2])
        if self.shape is not None and len(self.shape) != 2:
            self.token_ids, self.shape = None, None
        mask = named.get("attention_mask")
        self.mask, self.past = None, 0
        if (
            self.shape
            and hasattr(mask, "dim")
            and mask.dim() == 2
            and mask.shape[0] == self.shape[0]
            and mask.shape[1] >= self.shape[1]
        ):
            self.mask, self.past = mask, mask.shape[1] - self.shape[1]
        self.has_padding, self._real = False, {}
        if self.mask is not None:
            # Waits for the device, once per forward.
            kept = (self.mask[:, self.past :] != 0).reshape(-1).nonzero().reshape(-1)
            self.has_padding, self._kept = len(kept) < self.rows, kept
        self.position_ids = named.get("position_ids")
        cache = named.get("past_key_values")
        if self.mask is None and hasattr(cache, "get_seq_length"):
            self.past = int(cache.get_seq_length())

    @property
    def rows(self):
        return None if self.shape is None else self.shape[0] * self.shape[1]

    @staticmethod
    def by_row(matrix, sequence_first):
        """[batch, sequence] as the rows of a router [rows]."""
        return (matrix.t() if sequence_first else matrix).reshape(-1)

    def real(self, sequence_first, device):
        """Indices of the rows that are no padding, on `device`. Made once for all routers."""
        key = sequence_first, device
        if key not in self._real:
            rows, (batch, sequence) = self._kept, self.shape
            if sequence_first:
                line = rows.div(sequence, rounding_mode="floor")
                rows = (rows % sequence * batch + line).sort()[0]
            self._real[key] = rows.to(device)
        return self._real[key]

    def requests(self, first):
        """[batch, sequence]: a number per row of the batch, from `first`."""
        import torch

        return torch.arange(first, first + self.shape[0]).unsqueeze(1).expand(self.shape)

    def positions(self):
        """[batch, sequence]: from position_ids, else counted from the mask, else from the length of
        the cache.
        """
        import torch

        if (
            hasattr(self.position_ids, "dim")
            and self.position_ids.dim() == 2
            and self.position_ids.shape[-1] == self.shape[1]
        ):
            return self.position_ids.expand(self.shape)
        if self.mask is not None:
            return (self.mask.long().cumsum(1) - 1).clamp(min=0)[:, self.past :]
        return torch.arange(self.past, self.past + self.shape[1]).expand(self.shape)

    def is_first(self):
        """Whether this forward starts new requests rather than going on with those of the one
        before.
        """
        return self.past == 0 and (self.position_ids is None or bool((self.positions() == 0).any()))
