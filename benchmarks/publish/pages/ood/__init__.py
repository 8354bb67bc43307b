"""The page of an OOD benchmark: aims, the detectors beside ours, the networks, the attacks."""
