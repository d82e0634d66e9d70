"""The files that make clusters: valid, one set of versions, and no open door."""

import copy
import logging
import os
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
CLOUDS = ["on-premise", "aws", "gcp"]
SHARED = "/mnt/stridelab"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
)
[RAY] = [
    line.partition("==")[2]
    for line in PROJECT["project"]["dependencies"]
    if line.startswith("ray[")
]
PYTHON = PROJECT["tool"]["mypy"]["python_version"]
IMAGE = f"rayproject/ray:{RAY}-py{PYTHON.replace('.', '')}"


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def document(name):
    [only] = documents(name)
    return only


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".yaml"], ids=lambda p: p.name)
def test_yaml(path):
    assert all(isinstance(part, dict) for part in yaml.safe_load_all(path.read_text()))


class TestVersions:
    def test_python_is_one_that_the_project_allows(self):
        assert PROJECT["project"]["requires-python"].startswith(f">={PYTHON},")

    def test_ray(self):
        assert CONSTRAINTS["ray"] == RAY
        found = {
            (path.name, version)
            for path in FILES
            for version in re.findall(r"[Rr]ay\S*\s?\"?(2\.\d+\.\d+)", path.read_text())
        }
        assert {version for _, version in found} == {RAY}
        assert {name for name, _ in found} >= {
            *(f"{cloud}.yaml" for cloud in CLOUDS),
            *("Dockerfile", "raycluster.yaml", "rayjob.yaml", "README.md"),
        }

    def test_images(self):
        found = [
            image
            for path in FILES
            for image in re.findall(r"rayproject/ray:[\w.${}-]+", path.read_text())
        ]
        assert len(found) >= 5
        assert {image.rpartition("-")[0] for image in found} == {IMAGE}
        assert {image.rpartition("-")[2] for image in found} == {"cpu", "gpu", "${DEVICE}"}

    def test_readme(self):
        text = (FOLDER / "README.md").read_text()
        assert f"Ray {RAY} and Python {PYTHON}" in text
        for name in re.findall(r"(?:cluster/|`)([\w/-]+\.(?:yaml|sh)|Dockerfile)", text):
            assert (FOLDER / name).is_file() or name == "idea.yaml", name


class TestLauncher:
    """What ``ray up`` takes."""

    @pytest.fixture(params=CLOUDS)
    def raw(self, request):
        return document(f"{request.param}.yaml")

    @pytest.fixture
    def config(self, raw, monkeypatch):
        """The configuration as ``ray up`` completes it."""
        from ray.autoscaler._private.util import prepare_config

        logging.disable(logging.WARNING)
        monkeypatch.chdir(ROOT)  # where README.md says to run it
        yield prepare_config(copy.deepcopy(raw))
        logging.disable(logging.NOTSET)

    def test_rays_own_validator(self, config):
        from ray.autoscaler._private.util import validate_config

        validate_config(config)
        with pytest.raises(jsonschema.ValidationError):
            validate_config({**config, "max_wrokers": 3})

    def test_token_on_every_node(self, raw):
        assert "--env RAY_AUTH_MODE=token" in raw["docker"]["run_options"]
        assert raw["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"

    def test_dashboard_stays_on_the_head(self, config):
        [start] = [line for line in config["head_start_ray_commands"] if "--head" in line]
        assert re.search(r"--dashboard-host=(\S+)", start)[1] == "127.0.0.1"
        assert re.search(r"--port=(\S+)", start)[1] == "6379"
        assert config["worker_start_ray_commands"][-1].endswith("--address=$RAY_HEAD_IP:6379")

    def test_what_is_copied_exists(self, config):
        local = [path for path in config["file_mounts"].values() if not path.startswith("~")]
        assert sorted(local) == ["cluster/install.sh", "constraints.txt", "pyproject.toml"]
        for path in local:
            assert (ROOT / path).is_file()
        assert "cd /home/ray/stridelab && sh install.sh cpu" in config["setup_commands"]

    def test_shared_folder(self, raw):
        assert f"--volume {SHARED}:{SHARED}" in raw["docker"]["run_options"]
        if raw["provider"]["type"] != "local":
            assert any(f"mountpoint -q {SHARED} ||" in c for c in raw["initialization_commands"])

    def test_no_comment_inside_a_command(self, config):
        for key, commands in config.items():
            if key.endswith("_commands"):
                assert not [command for command in commands if "#" in command]

    @pytest.mark.parametrize("cloud", ["aws", "gcp"])
    def test_workers_are_spot_and_scale_to_nothing(self, cloud):
        config = document(f"{cloud}.yaml")
        types = config["available_node_types"]
        assert types.keys() == {"head", "spot"}
        head, spot = types["head"], types["spot"]
        assert config["head_node_type"] == "head"
        assert head["resources"] == {"CPU": 0}
        assert spot["min_workers"] == 0
        assert 0 < spot["max_workers"] <= config["max_workers"]
        if cloud == "aws":
            assert spot["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
            assert "InstanceMarketOptions" not in head["node_config"]
        else:
            assert spot["node_config"]["scheduling"] == [{"preemptible": True}]
            assert "scheduling" not in head["node_config"]
            cores = spot["node_config"]["machineType"].rpartition("-")[2]
            assert spot["resources"]["CPU"] == int(cores)

    def test_every_machine_is_used(self):
        config = document("on-premise.yaml")
        count = len(config["provider"]["worker_ips"])
        assert config["min_workers"] == config["max_workers"] == count


# The fields used here of KubeRay's types, as its API reference has them for ray.io/v1.
_TEMPLATE = {
    "type": "object",
    "required": ["spec"],
    "additionalProperties": False,
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers"],
            "additionalProperties": False,
            "properties": {
                "securityContext": {"const": {"fsGroup": 100}},
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"required": ["name", "image", "resources", "volumeMounts"]},
                },
                "volumes": {"type": "array"},
            },
        }
    },
}
_START_PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}
_CLUSTER = {
    "type": "object",
    "required": ["rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"],
    "additionalProperties": False,
    "properties": {
        "rayVersion": {"const": RAY},
        "authOptions": {"const": {"mode": "token"}},
        "enableInTreeAutoscaling": {"const": True},
        "autoscalerOptions": {
            "additionalProperties": False,
            "properties": {"idleTimeoutSeconds": {"type": "integer"}},
        },
        "headGroupSpec": {
            "type": "object",
            "required": ["rayStartParams", "template"],
            "additionalProperties": False,
            "properties": {
                "serviceType": {"const": "ClusterIP"},
                "rayStartParams": _START_PARAMS,
                "template": _TEMPLATE,
            },
        },
        "workerGroupSpecs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["groupName", "replicas", "rayStartParams", "template"],
                "additionalProperties": False,
                "properties": {
                    "groupName": {"type": "string"},
                    "replicas": {"type": "integer"},
                    "minReplicas": {"type": "integer"},
                    "maxReplicas": {"type": "integer"},
                    "rayStartParams": _START_PARAMS,
                    "template": _TEMPLATE,
                },
            },
        },
    },
}
_JOB = {
    "type": "object",
    "required": ["entrypoint", "rayClusterSpec"],
    "additionalProperties": False,
    "properties": {
        "entrypoint": {"type": "string"},
        "shutdownAfterJobFinishes": {"const": True},
        "ttlSecondsAfterFinished": {"type": "integer"},
        "rayClusterSpec": _CLUSTER,
    },
}


class TestKubernetes:
    @pytest.mark.parametrize(
        ("name", "kind", "schema"),
        [("raycluster", "RayCluster", _CLUSTER), ("rayjob", "RayJob", _JOB)],
    )
    def test_fields(self, name, kind, schema):
        manifest = document(f"kuberay/{name}.yaml")
        assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
        assert manifest["metadata"] == {"name": "stridelab"}
        jsonschema.validate(manifest["spec"], schema)

    @pytest.fixture(params=["raycluster", "rayjob"])
    def cluster(self, request):
        spec = document(f"kuberay/{request.param}.yaml")["spec"]
        return spec.get("rayClusterSpec", spec)

    def test_pods(self, cluster):
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        images = set()
        for group in groups:
            pod = group["template"]["spec"]
            [container] = pod["containers"]
            images.add(container["image"])
            # Equal requests and limits: Ray counts on what it sees at the start.
            assert container["resources"]["requests"] == container["resources"]["limits"]
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounted["results"] == SHARED
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            assert volumes.keys() == mounted.keys()
            assert volumes["results"]["persistentVolumeClaim"] == {"claimName": "stridelab"}
        assert len(images) == 1
        assert images.pop().endswith("/stridelab:cpu")

    def test_ports_and_scaling(self, cluster):
        [head] = cluster["headGroupSpec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in head["ports"]}
        assert ports == {"gcs-server": 6379, "dashboard": 8265}
        assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]

    def test_the_job_finds_its_experiment(self):
        spec = document("kuberay/rayjob.yaml")["spec"]
        command, file, override = spec["entrypoint"].split()[1:]
        assert command == "sweep"
        pod = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert str(Path(file).parent) == mounts["experiment"]
        assert override == f"resources.storage_path={SHARED}"
        [name] = [v["configMap"]["name"] for v in pod["volumes"] if v["name"] == "experiment"]
        readme = (FOLDER / "README.md").read_text()
        assert f"create configmap {name} --from-file={Path(file).name}=" in readme

    def test_storage_is_a_file_of_its_own(self):
        claim = document("kuberay/storage.yaml")
        assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
        assert claim["metadata"]["name"] == "stridelab"
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


class TestCompose:
    @pytest.fixture
    def compose(self):
        return document("compose.yaml")

    def test_services(self, compose):
        services = compose["services"]
        assert services.keys() == {"head", "worker", "mlflow", "postgres"}
        assert services["worker"]["deploy"] == {"replicas": 2}
        images = {service["image"] for service in services.values()}
        assert images == {"stridelab:cpu", "postgres:17-alpine"}
        build = services["head"]["build"]
        assert (FOLDER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()

    def test_published_on_this_machine_alone(self, compose):
        ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
        assert ports == {
            "head": ["127.0.0.1:8265:8265"],
            "worker": [],
            "mlflow": ["127.0.0.1:5000:5000"],
            "postgres": [],
        }
        assert not [
            service for service in compose["services"].values() if "network_mode" in service
        ]

    def test_secrets_come_from_the_environment(self, compose):
        services = compose["services"]
        for name in ("head", "worker"):
            environment = services[name]["environment"]
            assert environment["RAY_AUTH_MODE"] == "token"
            assert environment["RAY_AUTH_TOKEN"] == "${RAY_AUTH_TOKEN:?is not set}"
        password = "${POSTGRES_PASSWORD:?is not set}"
        assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == password
        assert services["mlflow"]["environment"]["PGPASSWORD"] == password

    def test_order_of_starting(self, compose):
        services = compose["services"]
        for service in services.values():
            assert service["healthcheck"]["test"][0] == "CMD"
        healthy = {"condition": "service_healthy"}
        assert services["worker"]["depends_on"] == {"head": healthy}
        assert services["mlflow"]["depends_on"] == {"postgres": healthy}

    def test_volumes(self, compose):
        used = {
            mount.partition(":")[0]
            for service in compose["services"].values()
            for mount in service["volumes"]
        }
        assert used == compose["volumes"].keys()
        for name in ("head", "worker"):
            assert compose["services"][name]["volumes"] == [f"results:{SHARED}"]

    def test_mlflow_knows_its_names(self, compose):
        """Its server refuses requests for any other host; jobs call it by its service's name."""
        command = compose["services"]["mlflow"]["command"]
        [hosts] = [option for option in command if option.startswith("--allowed-hosts=")]
        assert hosts.partition("=")[2].split(",") == [
            "mlflow:5000",
            "127.0.0.1:5000",
            "localhost:5000",
        ]
        assert "tracking.uri=http://mlflow:5000" in (FOLDER / "README.md").read_text()

    def test_mlflow_keeps_its_files_where_the_volume_is(self, compose):
        service = compose["services"]["mlflow"]
        assert service["volumes"] == ["artifacts:/mnt/mlflow"]
        assert "--artifacts-destination=/mnt/mlflow" in service["command"]
        database = compose["services"]["postgres"]["environment"]
        uri = (
            f"postgresql+psycopg2://{database['POSTGRES_USER']}@postgres/{database['POSTGRES_DB']}"
        )
        assert f"--backend-store-uri={uri}" in service["command"]


class TestImage:
    TEXT = (FOLDER / "Dockerfile").read_text()

    def test_base(self):
        assert re.findall(r"^FROM (.+)$", self.TEXT, re.M) == [IMAGE + "-${DEVICE}"]
        # Once with a default for FROM, once to be seen after it.
        assert re.findall(r"^ARG (.+)$", self.TEXT, re.M) == ["DEVICE=cpu", "DEVICE"]

    def test_what_is_copied_exists_and_is_sent(self):
        sources = [
            source
            for line in re.findall(r"^COPY --chown=ray:users (.+)$", self.TEXT, re.M)
            for source in line.split()[:-1]
        ]
        assert {"platform", "envs", "pyproject.toml"} <= set(sources)
        sent = (FOLDER / "Dockerfile.dockerignore").read_text().split("\n")
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source}" in sent
        assert "*" in sent

    def test_ends_as_an_ordinary_user(self):
        assert re.findall(r"^USER (.+)$", self.TEXT, re.M)[-1] == "ray"

    def test_mount_points_belong_to_that_user(self):
        [made] = re.findall(r"install -d -o ray -g users (.+)", self.TEXT)
        assert {SHARED, "/mnt/mlflow"} <= set(made.split())


class TestInstall:
    @pytest.fixture
    def pip(self, tmp_path):
        """Run install.sh with a pip that only writes its arguments and requirements down."""
        pip = tmp_path / "pip"
        pip.write_text(
            '#!/bin/sh\nprintf "%s\\n" "$@"\necho --\n'
            'while [ "$1" != --requirement ]; do shift; done\ncat "$2"\n'
        )
        pip.chmod(0o755)

        def run(*arguments):
            return subprocess.run(
                ["sh", FOLDER / "install.sh", *arguments],
                cwd=ROOT,
                env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
            )

        return run

    def test_cpu(self, pip):
        done = pip("cpu")
        assert done.returncode == 0, done.stderr
        arguments, _, requirements = done.stdout.partition("--\n")
        arguments = arguments.split("\n")
        assert arguments[:4] == ["install", "--no-cache-dir", "--constraint", "constraints.txt"]
        index = arguments.index("--extra-index-url")
        assert arguments[index + 1 : index + 3] == [
            "https://download.pytorch.org/whl/cpu",
            f"torch=={CONSTRAINTS['torch']}+cpu",
        ]
        assert requirements.split("\n")[:-1] == PROJECT["project"]["dependencies"]

    def test_gpu_takes_torch_as_the_index_has_it(self, pip):
        done = pip("gpu")
        assert done.returncode == 0, done.stderr
        assert "torch==" not in done.stdout
        assert "extra-index-url" not in done.stdout
        assert any(line.startswith("mujoco>=") for line in done.stdout.split())

    @pytest.mark.parametrize("arguments", [[], ["tpu"]])
    def test_unknown_device(self, pip, arguments):
        done = pip(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr == "usage: sh install.sh cpu|gpu\n"


def test_no_secret_in_any_file():
    """A key, token or password is always a reference to where it is kept."""
    secret = re.compile(r"(?:token|password|secret|api_?key)\w*[\"']?\s*[:=]\s*(\S+)", re.I)
    allowed = re.compile(r"\$[{(]|~/\.ray/auth_token|token\b")
    found = [
        (path.name, value)
        for path in FILES
        for value in secret.findall(path.read_text())
        if not allowed.match(value)
    ]
    assert found == []
    for path in FILES:
        assert not re.search(r"[0-9a-f]{32}|AKIA[0-9A-Z]{16}|PRIVATE KEY-", path.read_text())
