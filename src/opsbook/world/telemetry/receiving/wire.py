"""The few messages of Prometheus and of Google's RPC that are spoken, as descriptors: no generated code, no compiler.

Fields that are not named here are passed over, as protobuf does with what it does not know.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS: Final = {
    "string": _Field.TYPE_STRING,
    "double": _Field.TYPE_DOUBLE,
    "int64": _Field.TYPE_INT64,
    "int32": _Field.TYPE_INT32,
}
_MESSAGES: Final = {
    "Label": ("name string 1", "value string 2"),
    "Sample": ("value double 1", "timestamp int64 2"),
    "Histogram": (),  # native histograms are counted, and not read
    "TimeSeries": ("labels [Label] 1", "samples [Sample] 2", "histograms [Histogram] 4"),
    "Metadata": ("type int32 1", "metric_family_name string 2", "help string 4", "unit string 5"),
    "WriteRequest": ("timeseries [TimeSeries] 1", "metadata [Metadata] 3"),
    "Status": ("code int32 1", "message string 2"),
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="opsbook/wire.proto", package="opsbook.wire", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in fields:
            field, kind, number = line.split()
            repeated = kind.startswith("[")
            added = message.field.add(
                name=field,
                number=int(number),
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_Field.TYPE_MESSAGE if repeated else _KINDS[kind],
            )
            if repeated:
                added.type_name = f".opsbook.wire.{kind.strip('[]')}"
    pool = descriptor_pool.DescriptorPool()  # our own: nobody else's names can be in the way
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"opsbook.wire.{name}"))
        for name in _MESSAGES
    }


_CLASSES: Final = _classes()
WriteRequest: Final = _CLASSES["WriteRequest"]
"""``prometheus.WriteRequest`` of remote write 1.0."""
Status: Final = _CLASSES["Status"]
"""``google.rpc.Status``: what an OTLP sender is told when nothing was taken."""
