"""A Ray cluster of two machines with one core each, both of them this one."""

import os

import pytest
import ray
from ray.cluster_utils import Cluster

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture
def cluster():
    """Two machines, which this process is connected with; the second may be taken away."""
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    ray.init(address=machines.address, log_to_driver=False)
    yield machines
    ray.shutdown()
    machines.shutdown()
