"""Many sparse networks side by side, as if they were one."""

import torch

from robustkit.networks._wiring import Wiring

__all__ = ["Union"]


class Union:
    """Where the parameters of each network stand among those of all.

    Those of all are one vector: the weights of the input, a row for each source, the
    bias of each row of the wiring, and the weight of each of its edges.

    Parameters
    ----------
    modules : sequence of SparseNetwork
        With equally many features and outputs, on one device, in one precision.

    by_layer : bool
        As in `Wiring`.

    Attributes
    ----------
    wiring : Wiring
        Of the union.

    n_parameters : int
        Length of the vector.
    """

    def __init__(self, modules, *, by_layer):
        structures = [module.structure for module in modules]
        self.wiring = Wiring(structures, modules[0].n_outputs, by_layer=by_layer)
        self._n_features, self._n_outputs = modules[0].n_features, modules[0].n_outputs
        self._n_sources = [len(graph.sources) for graph in structures]
        self._n_nodes = [graph.n_nodes for graph in structures]
        self._n_edges = [graph.n_edges for graph in structures]
        n_inputs = self.wiring.n_sources * self._n_features
        self._ends = n_inputs, n_inputs + self.wiring.n_rows
        self.n_parameters = self._ends[1] + len(self.wiring.source)
        if len(structures) == 1:
            # Everything stands in order, and is seen rather than copied.
            self._rows = self._slots = [slice(None)]
        else:
            device = modules[0].bias.device
            self._rows, self._slots = (
                [torch.from_numpy(places).to(device) for places in of_each]
                for of_each in (self.wiring.rows, self.wiring.slots)
            )

    def see(self, vector):
        """See a vector as the weights of the input, of the rows and of the edges.

        Parameters
        ----------
        vector : torch.Tensor of shape (n_parameters,)
            Of the union.

        Returns
        -------
        input_weight : torch.Tensor of shape (n_sources, n_features)
            A view, as all three.

        bias : torch.Tensor of shape (n_rows,)
            In the order of the wiring.

        weight : torch.Tensor of shape (n_edges,)
            In the order of the wiring.
        """
        input_weight, bias, weight = vector.tensor_split(self._ends)
        return input_weight.view(-1, self._n_features), bias, weight

    def join(self, networks):
        """Copy what each network has into one vector.

        Parameters
        ----------
        networks : sequence of list of torch.Tensor
            For each network, five tensors in the order of its parameters.

        Returns
        -------
        vector : torch.Tensor of shape (n_parameters,)
            Of the union.
        """
        vector = networks[0][0].new_empty(self.n_parameters)
        input_weight, bias, weight = self.see(vector)
        input_weight.copy_(torch.cat([of_one[0] for of_one in networks]))
        for rows, slots, (_, b, w, v, c) in zip(
            self._rows, self._slots, networks, strict=True
        ):
            bias[rows] = torch.cat([b, c])
            weight[slots] = torch.cat([w, v.flatten()])
        return vector

    def split(self, vector):
        """Find what each network has in a vector.

        Parameters
        ----------
        vector : torch.Tensor of shape (n_parameters,)
            Of the union.

        Returns
        -------
        networks : list of list of torch.Tensor
            As `join` takes them; views, if there is one network only.
        """
        input_weight, bias, weight = self.see(vector)
        networks = []
        for i, inputs in enumerate(input_weight.split(self._n_sources)):
            own_bias, own_weight = bias[self._rows[i]], weight[self._slots[i]]
            biases = own_bias.tensor_split([self._n_nodes[i]])
            edges, outputs = own_weight.tensor_split([self._n_edges[i]])
            outputs = outputs.view(self._n_outputs, -1)
            networks.append([inputs, biases[0], edges, outputs, biases[1]])
        return networks
