import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny models are quickest on one thread, and don't wait for a busy second core."""
    torch.set_num_threads(1)
