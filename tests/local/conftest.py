from tests.support.s3_server import object_store, s3_server

__all__ = ["object_store", "s3_server"]
