"""The environments as other learning libraries expect them.

Each module needs the library it is named after. Gymnasium, and skrl through it, need none of them:
see :mod:`stridelab_envs.gym`.
"""
