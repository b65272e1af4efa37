from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("dashboard", "0003_cluster_operations")]

    operations = [
        migrations.AlterModelOptions(
            name="clusteroperation",
            options={
                "permissions": (
                    ("change_consumer_group", "Can reset and delete offsets of consumer groups, and delete groups"),
                    ("abort_transaction", "Can abort transactions"),
                    ("disconnect_client", "Can disconnect clients"),
                    ("change_broker", "Can change configs of brokers"),
                    ("move_partitions", "Can move partitions, elect leaders, restart and decommission brokers"),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
