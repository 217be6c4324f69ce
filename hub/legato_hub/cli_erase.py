"""`legato erase`."""

import grpc
import typer

from legato.error_table import from_rpc_error
from legato.orchestrator.v1 import admin_service_pb2, admin_service_pb2_grpc
from legato_hub.cli import refuse


def erase(target: str, customer_id: str, token: str) -> None:
    """Have a hub erase a customer, and say what there was; leave with status 1 if it could not."""
    with grpc.insecure_channel(target) as channel:
        stub: admin_service_pb2_grpc.AdminServiceStub = admin_service_pb2_grpc.AdminServiceStub(channel)
        request = admin_service_pb2.EraseCustomerRequest(customer_id=customer_id)
        try:
            erased = stub.EraseCustomer(request, metadata=(("authorization", f"Bearer {token}"),))
        except grpc.RpcError as error:
            refuse(str(from_rpc_error(error)), 1)
    typer.echo(f"erased {erased.sessions} sessions and {erased.carts} carts")
