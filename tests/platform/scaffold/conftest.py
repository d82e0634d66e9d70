"""Model files as other people write them."""

import mujoco
import pytest

from stridelab_envs.robots import get_robot

TETRAHEDRON = """v 0 0 0
v .02 0 0
v 0 .02 0
v 0 0 .02
f 1 3 2
f 1 2 4
f 1 4 3
f 2 3 4
"""


@pytest.fixture
def motorised(tmp_path):
    """Write a shipped robot as its makers would: bare motors, a mesh, a scene with a key frame."""

    def write(name):
        robot = get_robot(name)
        spec = mujoco.MjSpec.from_file(str(robot.mjcf))
        model = spec.compile()
        limits = {model.actuator(i).name: model.actuator_forcerange[i, 1] for i in range(model.nu)}
        for element in [*spec.actuators, *spec.sensors]:
            spec.delete(element)
        for joint in reversed(robot.joints):  # in an order of their own
            spec.add_actuator(
                name=f"{joint}_motor",
                target=joint,
                trntype=mujoco.mjtTrn.mjTRN_JOINT,
                ctrlrange=(-limits[joint] / 2.0, limits[joint] / 2.0),
                gear=(2.0, 0, 0, 0, 0, 0),
            )
        spec.meshdir, spec.modelfiledir = "assets", str(tmp_path)
        (tmp_path / "assets").mkdir()
        (tmp_path / "assets" / "badge.obj").write_text(TETRAHEDRON)
        spec.add_mesh(name="badge", file="badge.obj")
        spec.body(robot.base_body).add_geom(
            type=mujoco.mjtGeom.mjGEOM_MESH, meshname="badge", contype=0, conaffinity=0, mass=0
        )
        (tmp_path / "robot.xml").write_text(spec.to_xml())
        pose = " ".join(map(str, robot.default_pose))
        (tmp_path / "scene.xml").write_text(f"""<mujoco>
          <include file="robot.xml"/>
          <asset>
            <texture type="skybox" builtin="flat" width="8" height="48"/>
            <texture name="ground" type="2d" builtin="flat" width="8" height="8"/>
            <material name="ground" texture="ground"/>
          </asset>
          <worldbody>
            <light pos="0 0 3"/>
            <geom name="floor" type="plane" size="0 0 1" material="ground"/>
            <body name="table" pos="2 0 0"><geom type="box" size=".5 .5 .1"/></body>
          </worldbody>
          <keyframe>
            <key name="other" qpos="0 0 9 1 0 0 0 {" ".join("0" for _ in robot.joints)}"/>
            <key name="home" qpos="0 0 9 1 0 0 0 {pose}"/>
          </keyframe>
        </mujoco>""")
        return tmp_path / "scene.xml", limits

    return write


URDF = """<robot name="two_legs">
  <link name="base">
    <inertial><mass value="4"/>
      <inertia ixx=".1" iyy=".1" izz=".1" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><geometry><box size=".2 .2 .1"/></geometry></collision>
    <visual><geometry><mesh filename="package://two_legs/meshes/shell.dae"/></geometry></visual>
  </link>
  {legs}
</robot>"""

LEG = """
  <link name="{side}_leg">
    <inertial><origin xyz="0 0 -.2"/><mass value="1"/>
      <inertia ixx=".01" iyy=".01" izz=".01" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><origin xyz="0 0 -.2"/>
      <geometry><mesh filename="package://two_legs/meshes/leg.obj"/></geometry></collision>
  </link>
  <joint name="{side}_hip" type="revolute">
    <parent link="base"/><child link="{side}_leg"/><origin xyz="0 {y} 0"/><axis xyz="0 1 0"/>
    <limit lower="-1" upper="{upper}" effort="20" velocity="10"/>
  </joint>
  <link name="{side}_foot">
    <inertial><mass value=".1"/><inertia ixx="1e-4" iyy="1e-4" izz="1e-4" ixy="0" ixz="0" iyz="0"/>
    </inertial>
    <collision><geometry><sphere radius=".03"/></geometry></collision>
  </link>
  <joint name="{side}_sole" type="fixed">
    <parent link="{side}_leg"/><child link="{side}_foot"/><origin xyz="0 0 -.4"/>
  </joint>"""


@pytest.fixture
def urdf(tmp_path):
    """A URDF of two legs in a ROS package; its right leg stands before the left one."""
    folder = tmp_path / "two_legs"
    (folder / "meshes").mkdir(parents=True)
    (folder / "urdf").mkdir()
    (folder / "meshes" / "leg.obj").write_text(TETRAHEDRON)
    legs = "".join(
        LEG.format(side=side, y=y, upper=1.0) for side, y in (("right", -0.1), ("left", 0.1))
    )
    path = folder / "urdf" / "two_legs.urdf"
    path.write_text(URDF.format(legs=legs))
    return path
