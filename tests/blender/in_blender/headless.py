"""Runs inside a Blender without a window that has the extension: uses it as a script would, and looks at what it made.

Settings come as JSON in DIF3D_TEST: `archive` (installed first where given), `python` (has the engine's packages),
`model` (a folder, or "embedded"), `picture`, `blend` (a file to save, which tomorrow.py opens). A failed check raises,
and with it the process fails.
"""

import json
import os
import re
import sys
from pathlib import Path

import bpy

NAME = "bl_ext.user_default.dif3d_blender"
SETTINGS = json.loads(os.environ["DIF3D_TEST"])
BRITISH = re.compile("colour|grey", re.IGNORECASE)  # Blender's own words are American


def module(name):
    return sys.modules[f"{NAME}.blender.{name}"]


def preferences():
    return bpy.context.preferences.addons[NAME].preferences


def set_up():
    if SETTINGS.get("archive"):
        bpy.ops.extensions.package_install_files(
            filepath=SETTINGS["archive"], repo="user_default", enable_on_install=True
        )
    assert NAME in bpy.context.preferences.addons, "the extension is not enabled"


def fails(words, operator, **settings):
    """Check that an operator fails with these words in its message."""
    try:
        operator(**settings)
    except RuntimeError as error:
        assert words in str(error), (words, str(error))
    else:
        raise AssertionError(f"it did not fail with {words!r}")


def check_that_everything_explains_itself():
    shown = 0
    for part in ("properties", "preferences", "operators", "setup_operators", "turntable_ui", "retopology"):
        for cls in vars(module(part)).values():
            if not (isinstance(cls, type) and cls.__name__.startswith("DIF3D_") and hasattr(cls, "bl_rna")):
                continue
            if issubclass(cls, bpy.types.Panel):
                continue
            rna = cls.bl_rna
            if issubclass(cls, bpy.types.Operator):
                rna = getattr(bpy.ops.dif3d, cls.__name__.removeprefix("DIF3D_OT_")).get_rna_type()
                assert rna.description and not BRITISH.search(rna.description), cls
            inherited = {"rna_type", "name", "bl_idname"}
            for prop in rna.properties:
                if prop.identifier not in inherited and not prop.is_hidden and not prop.identifier.startswith("bl_"):
                    assert prop.description, (cls, prop.identifier)
                    words = [prop.description, *(item.description for item in getattr(prop, "enum_items", ()))]
                    assert not BRITISH.search(" ".join(words)), words
                    shown += 1
    assert shown > 50, shown


def check_that_disabled_buttons_say_why():
    """What Blender says of an operator that cannot be used ends with the words that the button's tooltip shows."""
    said = {}
    for name in dir(bpy.ops.dif3d):
        operator = getattr(bpy.ops.dif3d, name)
        if not operator.poll():
            try:
                operator()
            except RuntimeError as error:
                said[name] = str(error).partition("poll()")[2].strip()
    assert all(len(words) > 15 and "context is incorrect" not in words for words in said.values()), said
    assert not any(BRITISH.search(words) for words in said.values()), said
    return said


def check_that_a_picture_may_lie_beside_the_file():
    filepath = bpy.types.Scene.bl_rna.properties["dif3d"].fixed_type.properties["filepath"]
    assert getattr(filepath, "is_path_supports_blend_relative", True)  # older Blenders do not ask


def check_menus():
    for menu in (bpy.types.VIEW3D_MT_add, bpy.types.VIEW3D_MT_object):  # where Blender's search finds operators
        assert any(draw.__module__ == f"{NAME}.blender.menus" for draw in menu._dyn_ui_initialize()), menu


def check_a_folder_that_cannot_be_written():
    """Blender's folder for extensions' files, as on a read-only disk."""
    path_of = bpy.utils.extension_path_user

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "/read-only")

    bpy.utils.extension_path_user = refuse
    try:
        said = check_that_disabled_buttons_say_why()
    finally:
        bpy.utils.extension_path_user = path_of
    assert all("/read-only" in said[name] for name in ("generate", "remove_engine")), said


def check_that_what_is_installed_is_used():
    """An installation that ends at once, while another interpreter is chosen."""
    environment, online = module("environment"), bpy.context.preferences.system.use_online_access
    create = environment.create_environment
    preferences().python_source, environment.create_environment = "existing", lambda *_, **__: None
    bpy.context.preferences.system.use_online_access = True
    try:
        assert bpy.ops.dif3d.install_engine() == {"FINISHED"}
        module("handlers").installation.join(30)
    finally:
        environment.create_environment = create
        bpy.context.preferences.system.use_online_access = online
    assert preferences().python_source == "installed"


def check_bad_input():
    check_a_folder_that_cannot_be_written()
    said = check_that_disabled_buttons_say_why()
    assert said.keys() >= {"generate", "remesh", "frames", "bake", "cancel", "free_memory", "remove_engine"}, said
    fails("engine is not installed", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    check_that_what_is_installed_is_used()
    preferences().python_source = "existing"
    fails("Choose the Python", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    preferences().python = SETTINGS["python"]  # which is still being looked at when the next one is chosen
    preferences().python = "/nowhere/python"
    fails("no Python interpreter at /nowhere/python", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    module("handlers").inspection.join(30)
    assert "no Python interpreter" in module("handlers").inspection.error
    preferences().python = SETTINGS["python"]
    module("handlers").inspection.join(60)
    assert module("handlers").inspection.result == [], module("handlers").inspection.result
    fails("no picture at /nowhere/cat.png", bpy.ops.dif3d.generate, filepath="/nowhere/cat.png")
    fails("no image 'nobody'", bpy.ops.dif3d.generate, image="nobody")
    preferences().model, preferences().model_folder = "folder", "/nowhere/model"
    fails("no model folder at /nowhere/model", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    if SETTINGS["model"] == "embedded":
        preferences().model = "embedded"
    else:
        preferences().model_folder = SETTINGS["model"]
    preferences().output = "//results"
    fails("Save the file first", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    preferences().output = ""
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")  # which nobody could leave
    fails("is in Edit Mode", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.object.delete()
    fails("Nothing to make", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"], make_mesh=False)
    if not bpy.app.online_access:
        fails("Online Access", bpy.ops.dif3d.install_engine)
        fails("Online Access", bpy.ops.dif3d.download_model, model="triposr")
    (Path(bpy.app.tempdir) / "broken.png").write_bytes(b"no picture")
    fails("broken.png is not a picture", bpy.ops.dif3d.generate, filepath=str(Path(bpy.app.tempdir) / "broken.png"))
    foreign = "cuda" if sys.platform == "darwin" else "mps"
    fails(
        f"device '{foreign}' cannot be used here", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"], device=foreign
    )
    results = Path(bpy.utils.extension_path_user(NAME), "results")
    assert not any(results.iterdir()), "a failed job must leave no folder"


def check_generate():
    assert bpy.ops.dif3d.generate(filepath=SETTINGS["picture"], quality="draft", resolution=64, size=2.0) == {
        "FINISHED"
    }
    made = [obj for obj in bpy.data.objects if "dif3d_output" in obj]
    assert len(made) == 1, made
    obj = made[0]
    lowest = min(corner[2] for corner in obj.bound_box)
    assert abs(lowest) < 1e-4 and abs(obj.dimensions.z - 2) < 1e-3, (lowest, obj.dimensions)
    assert len(obj.data.polygons) > 100 and obj.data.color_attributes.active_color.name == "Color"
    assert any(node.type == "VERTEX_COLOR" for node in obj.active_material.node_tree.nodes)
    output = Path(obj["dif3d_output"])
    assert output.is_relative_to(bpy.utils.extension_path_user(NAME)), output
    for name in ("report.json", "3dfiles/mesh.glb", "arrays/triplane.npy", "images/Removed_BG.png"):
        assert (output / name).exists(), name
    return obj


def check_remesh(obj):
    before = len(obj.data.vertices)
    bpy.context.view_layer.objects.active = obj
    (Path(obj["dif3d_output"]) / "arrays" / "triplane.npy").unlink()  # the .blend has it too
    bpy.ops.wm.save_as_mainfile(filepath=SETTINGS["blend"])
    bpy.ops.wm.open_mainfile(filepath=SETTINGS["blend"])
    obj = bpy.context.object
    obj["dif3d_model"] = "/on/another/machine/triposr"  # here the network of the preferences has to do
    obj.shape_key_add(name="of the old mesh")
    assert bpy.ops.dif3d.remesh(resolution=32, project=False) == {"FINISHED"}
    assert 0 < len(obj.data.vertices) < before and obj.data.shape_keys is None
    last = module("handlers").jobs.last
    assert not last.job.project
    assert "Seeing the object" not in last.result.report["seconds"], "the network must not run again"
    assert abs(obj.dimensions.z - 2) < 1e-3
    return obj


def check_that_refused_jobs_leave_no_folder(obj):
    handlers, results = module("handlers"), Path(bpy.utils.extension_path_user(NAME), "results")
    before = set(results.iterdir())
    former = preferences().model, preferences().model_folder
    preferences().model, preferences().model_folder = "folder", "/nowhere/model"
    obj["dif3d_model"] = "/on/another/machine/triposr"
    fails("no model folder at /nowhere/model", bpy.ops.dif3d.remesh)
    fails("no model folder at /nowhere/model", bpy.ops.dif3d.frames)
    preferences().model, preferences().model_folder = former

    def refuse(*_):
        raise module("operators").DIF3DError("The engine's settings were changed.")

    handlers.jobs.submit = refuse
    fails("settings were changed", bpy.ops.dif3d.remesh)
    fails("settings were changed", bpy.ops.dif3d.frames)
    fails("settings were changed", bpy.ops.dif3d.generate, filepath=SETTINGS["picture"])
    del handlers.jobs.submit
    assert set(results.iterdir()) == before


def check_a_mesh_of_gaussians(obj):
    """Where Blender has no point clouds, the Gaussians of a result are a mesh, and come from the same folder."""
    cloud = bpy.data.objects.new("Gaussians", bpy.data.meshes.new("Gaussians"))
    cloud["dif3d_output"] = obj["dif3d_output"]
    bpy.context.collection.objects.link(cloud)
    bpy.context.view_layer.objects.active = cloud
    fails("Select a mesh that Generate from Image made", bpy.ops.dif3d.remesh)
    bpy.data.objects.remove(cloud)
    bpy.context.view_layer.objects.active = obj


def check_what_is_linked(obj):
    """Neither a linked result, nor an override of one, nor an override with a mesh that is one, can be changed."""
    library = str(Path(bpy.app.tempdir) / "library.blend")
    bpy.data.libraries.write(library, {obj})
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = [obj.name]
    linked = wanted.objects[0]
    override = linked.override_create()
    both = linked.override_create()
    both.data = linked.data.override_create()
    assert bpy.ops.dif3d.remesh.poll() and bpy.ops.dif3d.bake.poll()
    for foreign in (linked, override, both):
        bpy.context.collection.objects.link(foreign)
        bpy.context.view_layer.objects.active = foreign
        fails("is linked from another file", bpy.ops.dif3d.remesh)
        fails("is linked from another file", bpy.ops.dif3d.bake)
        assert bpy.ops.dif3d.frames.poll()  # it changes nothing
    bpy.data.batch_remove([linked, override, both])


def check_image_of_the_file():
    image = bpy.data.images.load(SETTINGS["picture"])
    image.pack()
    assert bpy.ops.dif3d.generate(image=image.name, resolution=32) == {"FINISHED"}
    pixels = list(image.pixels)
    image.pixels = [1 - value if place % 4 < 3 else value for place, value in enumerate(pixels)]
    assert image.is_dirty and bpy.ops.dif3d.generate(image=image.name, resolution=32) == {"FINISHED"}
    output = Path(module("handlers").jobs.last.job.output)
    assert (output / "picture.png").exists() and image.is_dirty


def check_removing():
    """Removing a model or the engine ends the idle engine, which may use them; results that wait go on waiting."""
    handlers, folder = module("handlers"), module("paths").environment_folder()
    task, process = handlers.jobs.last, handlers.jobs.engine._process
    task.state = "kept"
    bpy.ops.dif3d.remove_model(model="triposr")
    assert process.poll() is not None
    folder.mkdir()
    bpy.ops.dif3d.remove_engine()
    handlers.installation.join(30)
    assert not folder.exists() and task in handlers.jobs.tasks
    task.state = "done"


def check_texture_and_turntable():
    settings = {"filepath": SETTINGS["picture"], "make_texture": True, "texture_size": "1024"}
    assert bpy.ops.dif3d.generate(resolution=32, face_limit=600, **settings) == {"FINISHED"}
    obj = bpy.context.object
    assert 0 < len(obj.data.polygons) <= 600
    shader = next(node for node in obj.active_material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    assert shader.inputs["Base Color"].links[0].from_node.image.packed_file
    assert shader.inputs["Normal"].is_linked and obj.data.uv_layers
    scene = bpy.context.scene
    before = scene.render.engine, scene.render.filepath, scene.camera
    scene.dif3d.frame_count, scene.dif3d.frame_size, scene.dif3d_turntable.samples = 2, 32, 1
    bpy.ops.dif3d.add_turntable()
    bpy.ops.dif3d.render_turntable()
    results = Path(bpy.utils.extension_path_user(NAME), "results")
    written = {path.name for path in results.glob("*-turntable-*/renderfiles/*")}
    assert written == {"render_000.png", "render_001.png", "render.mp4"}, written
    assert before == (scene.render.engine, scene.render.filepath, scene.camera)
    scene.dif3d_turntable.engine, folders = "CYCLES", sorted(results.iterdir())
    bpy.ops.preferences.addon_disable(module="cycles")
    fails("Rendering this needs Cycles", bpy.ops.dif3d.render_turntable)
    bpy.ops.preferences.addon_enable(module="cycles")
    assert sorted(results.iterdir()) == folders, "what cannot be rendered must leave no folder"
    bpy.ops.dif3d.remove_turntable()
    bpy.ops.dif3d.retopologize(method="VOXEL", faces=200)
    lean = bpy.context.object
    assert lean != obj and obj.hide_get() and 20 < len(lean.data.polygons) <= 220, len(lean.data.polygons)
    baked = next(node.image for node in lean.active_material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert baked.packed_file and len(set(baked.pixels[:4000])) > 2
    assert before == (scene.render.engine, scene.render.filepath, scene.camera)
    materials = len(bpy.data.materials)
    bpy.ops.preferences.addon_disable(module="cycles")
    fails("Baking needs Cycles", bpy.ops.dif3d.retopologize, method="VOXEL", faces=200)
    bpy.ops.preferences.addon_enable(module="cycles")
    assert len(bpy.data.materials) == materials
    bpy.context.view_layer.objects.active = obj
    assert not bpy.ops.dif3d.render_turntable.poll()


def check_disable_enable_uninstall():
    jobs = module("handlers").jobs
    process = jobs.engine._process
    assert jobs.warm
    bpy.ops.preferences.addon_disable(module=NAME)
    assert process.poll() is not None, "the engine must end when the extension is disabled"
    assert not hasattr(bpy.types.Scene, "dif3d") and not hasattr(bpy.types, "DIF3D_PT_main")
    bpy.ops.preferences.addon_enable(module=NAME)
    preferences().python_source, preferences().python = "existing", SETTINGS["python"]  # disabling forgets them
    assert bpy.ops.dif3d.generate.poll()
    if hasattr(bpy.ops.extensions, "package_uninstall"):
        repos = [repo.module for repo in bpy.context.preferences.extensions.repos]
        folder = Path(module("paths").__file__).parent
        bpy.ops.extensions.package_uninstall(repo_index=repos.index("user_default"), pkg_id="dif3d_blender")
        assert NAME not in bpy.context.preferences.addons and not folder.exists()


set_up()
check_that_everything_explains_itself()
check_that_a_picture_may_lie_beside_the_file()
check_menus()
check_bad_input()
result = check_remesh(check_generate())
check_that_refused_jobs_leave_no_folder(result)
check_a_mesh_of_gaussians(result)
check_what_is_linked(result)
check_image_of_the_file()
check_removing()
check_texture_and_turntable()
check_disable_enable_uninstall()
print("ALL CHECKS PASSED")
