"""A Ray cluster of two machines with one core each, both of them this one."""

import os

import pytest
import ray
from ray.cluster_utils import Cluster

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@pytest.fixture
def cluster():
    """Two machines, which this process is connected with; the second may be taken away."""
    soon = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}  # a machine that is gone is missed
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    machines = Cluster(initialize_head=True, head_node_args=head)
    machines.add_node(num_cpus=1)
    ray.init(address=machines.address, log_to_driver=False)
    yield machines
    ray.shutdown()
    machines.shutdown()
