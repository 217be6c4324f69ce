"""The conformance kit: tries any adapter, in any language, against the adapter contract.

    legato conformance module:factory --set key=value
    legato conformance grpc://host:port --shop shop.toml

It plays the hub: it calls what is claimed, repeats what is idempotent, breaks connections and loses answers, and reads
the backend to count effects. It needs the client package alone. Each check is a function with a stable id in `checks/`;
`shop.py` describes the shop file, `report.py` what comes out.
"""

from legato_adapters.conformance.report import Report, Result, as_json, table
from legato_adapters.conformance.runner import NotReached, conformance
from legato_adapters.conformance.shop import Shop, ShopError, read_shop

__all__ = ["NotReached", "Report", "Result", "Shop", "ShopError", "as_json", "conformance", "read_shop", "table"]
