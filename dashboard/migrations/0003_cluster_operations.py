from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("dashboard", "0002_operate_services")]

    operations = [
        migrations.CreateModel(
            name="ClusterOperation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "permissions": (
                    ("change_consumer_group", "Can reset and delete offsets of consumer groups, and delete groups"),
                    ("abort_transaction", "Can abort transactions"),
                    ("disconnect_client", "Can disconnect clients"),
                    ("change_broker", "Can change configs of brokers"),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
