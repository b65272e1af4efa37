from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("broker", "0003_cluster_work"),
    ]

    operations = [
        migrations.AlterField(
            model_name="jobrun",
            name="kind",
            field=models.CharField(
                choices=[
                    ("retention", "Retention"),
                    ("compaction", "Compaction"),
                    ("broker.rebalance", "Evening out"),
                    ("broker.decommission", "Decommissioning"),
                    ("broker.rolling_restart", "Rolling restart"),
                ],
                max_length=32,
            ),
        ),
    ]
